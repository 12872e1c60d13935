"""Write the engine's lists anew, once you looked: ``python -m tests.golden.engine.update``.

``closed_*`` is what the engine has and the lists of ``store/allowed_*.py`` have not; a new name is
refused until somebody puts it there. ``under_readonly`` is what a reader can set in spite of
``readonly=1``: each of those must be either harmless or off the lists.
"""

import tempfile
from pathlib import Path

from bench.gate_statements import closed
from store.migrate import migrate
from tests.integration.store_fixtures import StoreEndpoint, start_store

FOLDER = Path(__file__).parent
_OTHERS = {
    "combinators": "SELECT name FROM system.aggregate_function_combinators",
    "types": "SELECT name FROM system.data_type_families",
    "table_engines": "SELECT name FROM system.table_engines",
    "version": "SELECT version()",
}


def lists(endpoint: StoreEndpoint) -> dict[str, list[str]]:
    """Every pinned list of this engine: name of the file -> sorted names."""
    writer, analyst = endpoint.writer(), endpoint.analyst()
    has = closed(writer.rows)
    found = {
        "closed_functions": has.functions,
        "closed_table_functions": has.table_functions,
        "closed_tables": [name for name in has.tables if not name.startswith("hf_store.")],
        "closed_settings": has.settings,
        "closed_formats": has.formats,
    }
    asked = {
        **_OTHERS,
        "under_readonly": "SELECT name FROM system.settings WHERE readonly = 0",
    }
    for name, sql in asked.items():
        found[name] = sorted(str(row[0]) for row in analyst.rows(sql))
    writer.close()
    analyst.close()
    return found


def main() -> None:
    """Ask a fresh store."""
    with tempfile.TemporaryDirectory() as folder:
        running, endpoint = start_store(Path(folder))
        try:
            client = endpoint.writer()
            migrate(client, now_ms=0, app_version="golden")
            for name, names in lists(endpoint).items():
                (FOLDER / f"{name}.txt").write_text("\n".join(names) + "\n", "utf-8")
        finally:
            running.stop()


if __name__ == "__main__":
    main()
