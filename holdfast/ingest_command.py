"""``holdfast ingest``: run the doors of the scaled-out product in the foreground."""

from pathlib import Path

import uvloop

from holdfast.config import load
from holdfast.ingest_service import IngestService
from holdfast.observe import start_logging


def run_ingest(directory: Path | None, **options: str | int | None) -> int:
    """Take uploads until SIGTERM or SIGINT; 1 if something failed that must not."""
    settings = load(dir=directory, **options)
    start_logging()
    return uvloop.run(IngestService(settings).run())
