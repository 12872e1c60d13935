"""Does the store's gate hold, and does it let honest readers through? ``holdfast bench gate``.

A real store process, over HTTP with the analyst's credential: thousands of hostile requests made
from this engine's own lists, and every honest statement that we know. A hostile request counts as
*through* if it is answered, and as *past the gate* if the engine, not the gate, refused it.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from bench.gate_statements import Hostile, closed, hostile, written
from bench.report import Report, Result
from store import process
from store.client import StoreSettings, connect
from store.migrate import migrate

_PASSWORD: Final = "of-this-benchmark"  # noqa: S105  # of a store that nobody else reaches
_BY_GATE: Final = ("; accepted: ", "Code: 62.", "analysts may not use", "UNKNOWN_QUERY_PARAMETER")
_BY_ENGINE: Final = "readonly mode"


def asked(http: httpx.Client, request: Hostile) -> httpx.Response:
    """The answer to a request, sent in its way."""
    sql, fields = request.sql, request.fields
    if request.way == "url":
        return http.post("/", params={"query": sql, **fields})
    if request.way == "both":
        head, _, rest = sql.partition(" ")
        return http.post("/", params={"query": head, **fields}, content=rest.encode())
    if request.way == "form":
        form = {name: (None, value) for name, value in {"query": sql, **fields}.items()}
        return http.post("/", files=form)
    return http.post("/", params=fields, content=sql.encode())


def is_by_gate(answer: httpx.Response) -> bool:
    """Whether the gate or the parser refused, before anything was run."""
    refused = answer.status_code in (400, 403, 404)
    said = any(mark in answer.text for mark in _BY_GATE)
    return refused and said and _BY_ENGINE not in answer.text


def run(*, count: int, seed: int) -> Report:
    """Start a store, ask it everything, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        credentials = Path(folder) / "credentials.json"
        process.write_credentials(
            credentials, writer_password=_PASSWORD, analyst_password=_PASSWORD
        )
        running = process.start(Path(folder) / "store", credentials)
        try:
            with closing(connect(StoreSettings(port=running.port, password=_PASSWORD))) as writer:
                migrate(writer, now_ms=0, app_version="bench")
                has = closed(writer.rows)
            requests = list(hostile(has, count=count, rng=np.random.default_rng(seed)))
            requests += [Hostile(sql) for sql in written("hostile")]
            base = f"http://127.0.0.1:{running.port}"
            with httpx.Client(base_url=base, auth=("analyst", _PASSWORD), timeout=120) as http:
                return Report("gate", _results(http, requests, written("honest")))
        finally:
            running.stop()


def _results(
    http: httpx.Client, requests: Sequence[Hostile], honest: Sequence[str]
) -> list[Result]:
    began = time.perf_counter()
    answers = [(request, asked(http, request)) for request in requests]
    each_ms = (time.perf_counter() - began) / len(requests) * 1e3
    through = [request for request, answer in answers if answer.status_code == 200]
    past = [(request, answer.text) for request, answer in answers if not is_by_gate(answer)]
    unanswered = [
        (sql, answer.text)
        for sql in honest
        if (answer := http.post("/", content=sql.encode())).status_code != 200
    ]
    for each in [*past, *unanswered][:20]:
        print("  ", *each)
    return [
        Result("S1", "hostile statements", len(requests), "statements", (">=", 5_000)),
        Result("S1", "hostile, answered", len(through), "statements", ("<=", 0), n=len(requests)),
        Result("S1", "hostile, past the gate", len(past), "statements", ("<=", 0), len(requests)),
        Result("S1", "honest statements", len(honest), "statements", (">=", 300)),
        Result("S1", "honest, not answered", len(unanswered), "statements", ("<=", 0), len(honest)),
        Result("S1", "time of a refusal", each_ms, "ms", n=len(requests)),
    ]


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench gate", description=__doc__)
    parser.add_argument("--count", type=int, default=6_000, help="hostile statements to make")
    parser.add_argument("--seed", type=int, default=1, help="of their choice")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    return run(count=options.count, seed=options.seed).give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
