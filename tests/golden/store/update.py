"""Write the views' and the cluster's frozen text anew: ``python -m tests.golden.store.update``."""

import json
import tempfile
from pathlib import Path

from store.migrate import cluster_ddl, migrate
from tests.integration.store_fixtures import start_store


def main() -> None:
    """Ask a fresh store for its views and columns."""
    with tempfile.TemporaryDirectory() as folder:
        running, endpoint = start_store(Path(folder))
        try:
            client = endpoint.writer()
            migrate(client, now_ms=0, app_version="golden")
            rows = client.rows(
                "SELECT table, name, type, comment FROM system.columns WHERE database = 'hf' "
                "ORDER BY table, position"
            )
        finally:
            running.stop()
    lines = ",\n".join(json.dumps([str(cell) for cell in row]) for row in rows)
    Path(__file__).with_name("hf_columns.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    Path(__file__).with_name("cluster.sql").write_text(cluster_ddl("holdfast"), "utf-8")


if __name__ == "__main__":
    main()
