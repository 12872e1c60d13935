"""The cluster's DDL and many windows at once, before ClickHouse's own parser and engine."""

import numpy as np

from store.migrate import cluster_ddl
from store.writer import Rows, Writer
from tests.integration.store_fixtures import StoreEndpoint
from tests.integration.store_rows import metric_rows


def test_clickhouse_reads_every_statement_of_the_cluster(store_endpoint: StoreEndpoint) -> None:
    client = store_endpoint.writer()
    statements = cluster_ddl("holdfast").split(";\n\n")[:-1]

    read = [
        str(client.rows("SELECT formatQuery({s:String})", {"s": statement})[0][0])
        for statement in statements
    ]

    assert len(read) > 20
    made = [statement for statement in read if not statement.startswith("INSERT INTO")]
    assert all("ON CLUSTER holdfast" in statement for statement in made)


def test_windows_written_together_are_the_rows_of_windows_written_alone(
    store_endpoint: StoreEndpoint,
) -> None:
    client = store_endpoint.writer()
    sample = [np.full(10, 5.0, np.float32)] * 3

    def windows(model: str) -> list[Rows]:
        regions = [["US", "IN", "BR"], ["DE", "US", "FR"], ["IN", "IN2", "US"]]
        return [{"metric_window": metric_rows(sample, model=model, regions=r)} for r in regions]

    Writer(client).write_many(windows("many"))
    Writer(client).write_many(windows("many"))  # twice is once
    for window in windows("alone"):
        Writer(client).write(window)

    def stored(model: str) -> list[object]:
        sql = (
            "SELECT * EXCEPT model_id FROM hf_store.metric_window FINAL "
            "WHERE model_id = {m:String} ORDER BY ALL"
        )
        return [tuple(row) for row in client.rows(sql, {"m": model})]

    assert stored("many") == stored("alone")
    assert len(stored("many")) > 5
