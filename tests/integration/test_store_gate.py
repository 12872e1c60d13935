"""What an analyst, and the writer, may not do: against a real endpoint."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clickhouse_connect
import httpx
import numpy as np
import pytest

from store.client import Client
from store.writer import Writer
from tests.integration.store_fixtures import StoreEndpoint
from tests.integration.store_rows import metric_rows
from wire.errors import PermanentError

REFUSED = [
    "INSERT INTO hf_store.action (incident_id) VALUES ('x')",
    "INSERT INTO hf_store.action FORMAT CSV\n1",
    "DROP VIEW hf.verdicts",
    "TRUNCATE TABLE hf_store.action",
    "ALTER TABLE hf_store.action DELETE WHERE 1",
    "OPTIMIZE TABLE hf_store.action FINAL",
    "CREATE TABLE hf.x (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE x (a Int8)",
    "CREATE FUNCTION f AS x -> x",
    "ATTACH TABLE hf.x",
    "GRANT ALL ON *.* TO default",
    "SYSTEM STOP MERGES",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "BACKUP DATABASE hf TO File('x')",
    "SET max_execution_time = 0",
    "USE hf_store",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW hf.verdicts",
    "SELECT 1 INTO OUTFILE '/tmp/holdfast-outfile.csv'",
    "SELECT * FROM hf_store.action",
    "SELECT * FROM `hf_store`.`action`",
    'SELECT * FROM "hf_store".action',
    "SELECT * FROM `hf\\_store`.action",
    "SELECT * FROM /* x */ hf_store /* y */ . action",
    "SELECT (SELECT count() FROM hf_store.action)",
    "SELECT 1 WHERE 1 IN hf_store.action",
    "WITH x AS (SELECT * FROM hf_store.action) SELECT * FROM x",
    "SELECT * FROM {db:Identifier}.action",
    "SELECT * FROM {t:Identifier}",
    "SHOW TABLES FROM hf_store",
    "DESCRIBE TABLE hf_store.action",
    "EXISTS TABLE hf_store.action",
    "EXPLAIN SELECT * FROM hf_store.action",
    "SELECT * FROM merge('hf_store', 'action')",
    "SELECT * FROM merge(REGEXP('hf.*'), 'action')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM `file`('/etc/passwd', 'LineAsString')",
    "SELECT * FROM file/**/('/etc/passwd', 'LineAsString')",
    "SELECT file('/etc/passwd')",
    "SELECT FILE ('/etc/passwd')",
    "SELECT * FROM view(SELECT * FROM file('/etc/passwd', 'LineAsString'))",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', 'hf_store', 'action')",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM python(x)",
    "SELECT * FROM sqlite('/tmp/x.db', 't')",
    "SELECT * FROM loop('hf_store', 'action')",
    "SELECT * FROM mergeTreeIndex('hf_store', 'action')",
    "SELECT * FROM cluster('default', 'hf_store', 'action')",
    "SELECT * FROM default.`/etc/passwd`",
    "SELECT * FROM '/etc/passwd'",
    "SELECT sleep(3)",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.parts",
    "SELECT * FROM system.`query_log`",
    "SELECT * FROM system.user_processes",
    "SHOW PROCESSLIST",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT \u2018 ' \u2019 FROM hf_store.action --'",
    "SELECT $a$ ' $a$ FROM hf_store.action --'",
    "SELECT '\\\\' FROM hf_store.action --'",
    "SELECT '' '' FROM hf_store.action --'",
    "SELECT `\\`` FROM hf_store.action --`",
]
TAKEN = [
    "SELECT count() FROM hf.verdicts",
    "SELECT count() FROM verdicts",
    "select 'hf_store; drop table x' as s",
    "(SELECT 1)",
    "FROM verdicts SELECT count()",
    "WITH 1 AS x SELECT x",
    "SHOW TABLES",
    "SHOW CREATE VIEW verdicts",
    "DESCRIBE TABLE verdicts",
    "EXPLAIN SELECT * FROM verdicts",
    "EXISTS TABLE verdicts",
    "SELECT * FROM numbers(3)",
    "SELECT name FROM system.columns WHERE database = 'hf'",
    "SELECT table_name FROM information_schema.tables",
    "SELECT 1 FORMAT JSON",
    "SELECT 1;",
    "-- a comment\nSELECT 1 # another",
]


@pytest.fixture
def http(store_endpoint: StoreEndpoint) -> Iterator[httpx.Client]:
    base = f"http://{store_endpoint.host}:{store_endpoint.port}"
    with httpx.Client(
        base_url=base, auth=("analyst", store_endpoint.analyst_password), timeout=60
    ) as client:
        yield client


@pytest.mark.parametrize("sql", REFUSED)
def test_an_analyst_is_refused(http: httpx.Client, sql: str) -> None:
    parameters = {"param_db": "hf_store", "param_t": "hf_store.action"}

    answer = http.post("/", content=sql.encode(), params=parameters)

    assert answer.status_code in (400, 403, 404, 501), answer.text
    assert answer.text.startswith("Code: ")
    assert answer.headers["x-clickhouse-exception-code"] in ("164", "497", "62", "60", "81")
    assert not Path("/tmp/holdfast-outfile.csv").exists()  # noqa: S108  # the name in the statement


@pytest.mark.parametrize("sql", TAKEN)
def test_an_analyst_may_read(http: httpx.Client, sql: str) -> None:
    answer = http.post("/", content=sql.encode())

    assert answer.status_code == 200, answer.text


def test_a_text_that_was_allowed_is_judged_anew_for_others(
    store_endpoint: StoreEndpoint, http: httpx.Client
) -> None:
    """What is remembered of a statement goes for the one who asked, with these parameters."""
    read = "SELECT count() FROM hf_store.action"
    named = "SELECT count() FROM {d:Identifier}.verdicts"
    writer = store_endpoint.writer()
    assert writer.rows(read) == writer.rows(read)
    writer.close()

    assert [http.post("/", content=read).status_code for _ in range(2)] == [403, 403]
    for database, status in (("hf", 200), ("hf_store", 403), ("hf", 200), ("system", 403)):
        answer = http.post("/", content=named, params={"param_d": database})
        assert answer.status_code == status, answer.text


def test_the_refusals_left_the_store_as_it_was(
    store_endpoint: StoreEndpoint, http: httpx.Client
) -> None:
    writer = store_endpoint.writer()
    count = "SELECT count() FROM system.tables WHERE database IN ('hf', 'hf_store')"
    before = writer.rows(count)

    for sql in REFUSED[:18]:  # those that would change something
        http.post("/", content=sql.encode())

    assert writer.rows(count) == before


@pytest.mark.parametrize(
    ("setting", "value", "status"),
    [
        ("max_execution_time", "0", 200),
        ("max_threads", "1", 200),
        ("output_format_json_quote_64bit_integers", "1", 200),
        ("readonly", "0", 200),
        ("additional_table_filters", "{}", 403),
        ("output_format_schema", "/tmp/x", 403),  # noqa: S108  # never written
        ("allow_introspection_functions", "1", 403),
    ],
)
def test_an_analysts_settings_are_clamped_or_refused(
    http: httpx.Client, setting: str, value: str, status: int
) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_execution_time'"

    answer = http.post("/", content=sql, params={setting: value})

    assert answer.status_code == status
    assert status != 200 or answer.text == "30\n"


def test_a_result_that_is_too_large_is_refused_not_cut(http: httpx.Client) -> None:
    answer = http.post("/", content="SELECT number FROM numbers(3000000)")

    assert answer.status_code == 413
    assert answer.headers["x-clickhouse-exception-code"] == "396"


def test_a_statement_that_takes_too_much_memory_is_stopped(http: httpx.Client) -> None:
    answer = http.post("/", content="SELECT length(groupArray(number)) FROM numbers(1000000000)")

    assert answer.headers["x-clickhouse-exception-code"] == "241"


@pytest.mark.parametrize(
    ("user", "password"), [("analyst", "wrong"), ("nobody", "analyst-of-tests"), ("", "")]
)
def test_a_wrong_credential_is_refused(
    store_endpoint: StoreEndpoint, user: str, password: str
) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{store_endpoint.port}/", content="SELECT 1", auth=(user, password)
    )

    assert answer.status_code == 403
    assert "AUTHENTICATION_FAILED" in answer.text


def test_the_writer_may_not_make_tables_that_could_wedge_the_store(
    store_endpoint: StoreEndpoint,
) -> None:
    client = store_endpoint.writer()

    with pytest.raises(PermanentError, match="164"):
        client.command("CREATE TABLE hf_store.k (a String) ENGINE = Kafka('x', 'y', 'z', 'CSV')")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO FUNCTION file('/tmp/holdfast-outfile.csv', 'CSV', 'a Int8') SELECT 1",
        "INSERT INTO FUNCTION null(a) FORMAT CSV\n1",
        "INSERT INTO hf_store.action SELECT * FROM url('http://127.0.0.1:1/', 'CSV')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT 1 INTO OUTFILE '/tmp/holdfast-outfile.csv'",
        "GRANT ALL ON *.* TO default",
        "SELECT 1; SELECT 2",
        "CREATE TABLE hf_store.k (a String) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE hf_store.k (a String) ENGINE = File(CSV)",
        "CREATE VIEW hf.k AS SELECT file('/etc/passwd')",
        "CREATE DICTIONARY hf.d (a UInt64) PRIMARY KEY a SOURCE(FILE(path 'x' format 'CSV'))",
        "ALTER TABLE hf_store.action ADD COLUMN x String DEFAULT file('/etc/passwd')",
        "DROP TABLE hf_store.action",
        "DROP DATABASE hf_store",
        "TRUNCATE TABLE hf_store.schema_migrations",
        "INSERT INTO hf_store.action (detail) SELECT file('/etc/passwd')",
        "INSERT INTO hf_store.action (detail) VALUES (file('/etc/passwd'))",
        "INSERT INTO hf_store.action (detail) FORMAT Values (file('/etc/passwd'))",
        "INSERT INTO hf_store.action FROM INFILE '/etc/passwd' FORMAT LineAsString",
        "INSERT INTO hf_store.`x\\x79` FORMAT CSV\n1",
        "INSERT INTO system.settings FORMAT CSV\n1",
        "SELECT * APPLY(file) FROM (SELECT '/etc/passwd' AS p)",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM default.`/etc/passwd`",
        "SELECT 1 SETTINGS select = 'file(1)'",
        "SYSTEM SHUTDOWN",
        "SET max_threads = 1",
        "ATTACH TABLE hf_store.k FROM '/tmp/x' (a String) ENGINE = MergeTree ORDER BY a",
        "BACKUP DATABASE hf TO File('x')",
        "SELECT * FROM system.processes",
    ],
)
def test_the_writer_reaches_nothing_outside_of_the_store(
    store_endpoint: StoreEndpoint, sql: str
) -> None:
    auth = ("holdfast", store_endpoint.writer_password)

    answer = httpx.post(f"http://127.0.0.1:{store_endpoint.port}/", content=sql, auth=auth)

    assert answer.status_code in (400, 403, 404), answer.text
    assert not Path("/tmp/holdfast-outfile.csv").exists()  # noqa: S108  # the name in the statement


def test_an_error_of_the_engine_comes_back_as_clickhouse_writes_it(http: httpx.Client) -> None:
    answer = http.post("/", content="SELECT nope FROM verdicts")

    assert answer.status_code == 404
    assert answer.headers["x-clickhouse-exception-code"] == "47"
    assert "UNKNOWN_IDENTIFIER" in answer.text


def test_more_waiting_statements_than_places_are_told_to_come_back(
    store_endpoint: StoreEndpoint,
) -> None:
    slow = "SELECT sum(cityHash64(number)) FROM numbers(30000000)"
    url = f"http://127.0.0.1:{store_endpoint.port}/"

    async def storm() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        auth = ("analyst", store_endpoint.analyst_password)
        async with httpx.AsyncClient(auth=auth, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.post(url, content=slow) for _ in range(60)))

    answers = asyncio.run(storm())

    busy = [a for a in answers if a.status_code == 503]
    assert {a.status_code for a in answers} == {200, 503}
    assert all(1 <= int(a.headers["retry-after"]) <= 5 for a in busy)


def test_slow_analysts_do_not_hold_up_the_writer(store_endpoint: StoreEndpoint) -> None:
    slow = "SELECT sum(cityHash64(number)) FROM numbers(200000000)"
    client: Client = store_endpoint.writer()
    writer = Writer(client)

    def read() -> None:
        store_endpoint.analyst().rows(slow)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        time.sleep(0.2)
        began = time.perf_counter()
        writer.write({"metric_window": metric_rows([np.ones(3, np.float32)], model="contended")})
        waited_s = time.perf_counter() - began
        still_reading = any(not reader.done() for reader in readers)
        for reader in readers:
            reader.result()

    assert still_reading
    assert waited_s < 5


def test_a_stock_client_sees_why_it_was_refused(store_endpoint: StoreEndpoint) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=store_endpoint.port,
        username="analyst",
        password=store_endpoint.analyst_password,
    )

    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="hf_store"):
        client.query("SELECT * FROM hf_store.action")
    client.close()
