"""Our own logs: one JSON object a line, a constant event in past tense plus fields. No payloads."""

import json
import logging
import sys
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_SELDOM_S: Final = 10.0
_KINDS_MAX: Final = 1_000


class JsonLines(logging.Formatter):
    """Event, level, logger, and whatever was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Seldom(logging.Filter):
    """Lets one line of a kind through every ten seconds.

    A client of a broker that is away says so many times a second, in the same words.
    """

    def __init__(self, *loggers: str) -> None:
        super().__init__()
        self._loggers = loggers
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(self._loggers):
            return True
        kind = (record.name, str(record.msg))
        if record.created - self._said.get(kind, -_SELDOM_S) < _SELDOM_S:
            return False
        if len(self._said) >= _KINDS_MAX:
            self._said.clear()
        self._said[kind] = record.created
        return True


def start_logging(*, level: int = logging.INFO) -> None:
    """Log to standard error."""
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(JsonLines())
    output.addFilter(Seldom("aiokafka", "faust", "mode"))
    logging.basicConfig(level=level, handlers=[output], force=True)
    for chatty in ("urllib3", "clickhouse_connect", "uvicorn", "grpc", "faust", "mode", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
