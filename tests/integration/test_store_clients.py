"""Stock clients, unmodified, against the endpoint over chDB."""

import gzip
import json
import subprocess
from collections.abc import Iterator

import clickhouse_connect
import httpx
import lz4.block
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from clickhouse_connect.driver import Client

from store.writer import Writer
from tests.integration.store_fixtures import StoreEndpoint
from tests.integration.store_rows import metric_rows, shown_rows


def _stock(
    endpoint: StoreEndpoint,
    *,
    user: str = "analyst",
    compress: str | bool = True,
    form: bool = False,
) -> Client:
    return clickhouse_connect.get_client(
        host=endpoint.host,
        port=endpoint.port,
        username=user,
        password=endpoint.analyst_password if user == "analyst" else endpoint.writer_password,
        compress=compress,
        form_encode_query_params=form,
    )


@pytest.fixture(scope="module")
def client(store_endpoint: StoreEndpoint) -> Iterator[Client]:
    samples = [np.full(10, 5.0, np.float32)] * 300
    regions = [f"r{i}" for i in range(300)]
    rows = metric_rows(samples, model="clients", regions=regions)
    Writer(store_endpoint.writer()).write({"metric_shown": shown_rows(rows)})
    stock = _stock(store_endpoint)
    yield stock
    stock.close()


def test_query_gives_typed_rows(client: Client) -> None:
    answer = client.query("SELECT model_id, n, p50 FROM metric_minute WHERE model_id = 'clients'")

    assert answer.result_rows == [("clients", 3000, pytest.approx(5.0, rel=0.03))]
    assert answer.column_names == ("model_id", "n", "p50")


@pytest.mark.parametrize("form", [False, True], ids=["url", "form"])
def test_server_side_parameters(store_endpoint: StoreEndpoint, client: Client, form: bool) -> None:
    stock = _stock(store_endpoint, form=form)

    answer = stock.query(
        "SELECT n FROM metric_minute WHERE model_id = {m:String} AND minute > {t:DateTime}",
        parameters={"m": "clients", "t": "2020-01-01 00:00:00"},
    )

    assert answer.result_rows == [(3000,)]
    stock.close()


def test_client_side_parameters(client: Client) -> None:
    sql = "SELECT n FROM metric_minute WHERE model_id = %(m)s"

    assert client.query(sql, parameters={"m": "clients"}).result_rows == [(3000,)]


def test_arrow(client: Client) -> None:
    table = client.query_arrow("SELECT number AS n, toString(number) AS s FROM numbers(1000)")

    assert table.num_rows == 1000
    assert pc.sum(table["n"]).as_py() == 499_500


def test_data_frame(client: Client) -> None:
    pytest.importorskip("pandas")

    frame = client.query_df("SELECT minute, n FROM metric_minute WHERE model_id = 'clients'")

    assert frame["n"].tolist() == [3000]
    assert str(frame["minute"].dt.tz) in ("UTC", "None")


def test_numpy(client: Client) -> None:
    assert client.query_np("SELECT number FROM numbers(5)").sum() == 10


def test_row_blocks_stream(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(200000)") as stream:
        assert sum(len(block) for block in stream) == 200_000


@pytest.mark.parametrize("fmt", ["Parquet", "CSV", "JSONEachRow", "Arrow"])
def test_raw_formats(client: Client, fmt: str) -> None:
    assert client.raw_query("SELECT number FROM numbers(3)", fmt=fmt)


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_every_compression(store_endpoint: StoreEndpoint, compress: str | bool) -> None:
    stock = _stock(store_endpoint, compress=compress)

    assert len(stock.query("SELECT number, 'x' FROM numbers(10000)").result_rows) == 10_000
    stock.close()


def test_limit_0_gives_the_columns(client: Client) -> None:
    answer = client.query("SELECT * FROM verdicts LIMIT 0")

    assert "arithmetic" in answer.column_names
    assert answer.result_rows == []


def test_settings_pass(client: Client) -> None:
    assert client.query("SELECT 1", settings={"max_threads": 1}).result_rows == [(1,)]


def test_dbapi_cursor(store_endpoint: StoreEndpoint) -> None:
    from clickhouse_connect import dbapi

    connection = dbapi.connect(
        host=store_endpoint.host,
        port=store_endpoint.port,
        username="analyst",
        password=store_endpoint.analyst_password,
    )
    cursor = connection.cursor()
    cursor.execute("SELECT 1, 'x'")

    assert [tuple(row) for row in cursor.fetchall()] == [(1, "x")]
    connection.close()


def test_the_time_zone_is_utc_and_the_summary_counts(client: Client) -> None:
    answer = client.query("SELECT count() FROM metric_minute")

    assert str(client.server_tz) in ("UTC", "Etc/UTC")
    assert int(answer.summary["read_rows"]) >= 300


def test_inserts_native_arrow_and_text(store_endpoint: StoreEndpoint) -> None:
    stock = _stock(store_endpoint, user="holdfast")
    names = ["incident_id", "action", "verdict_id", "detail"]

    stock.insert(
        "hf_store.action", [["n1", "slack", "v", "FORMAT"], ["n2", "slack", "v", ""]], names
    )
    arrow = pa.table({name: pa.array([text]) for name, text in zip(names, "ansz", strict=True)})
    stock.insert_arrow("hf_store.action", arrow.set_column(1, "action", pa.array(["slack"])))
    stock.raw_insert("hf_store.action", names[:3], "n3,slack,five\n", fmt="CSV")

    found = stock.query(
        "SELECT incident_id, verdict_id, detail FROM hf_store.action WHERE action = 'slack' "
        "ORDER BY incident_id"
    ).result_rows
    stock.close()
    assert found == [("a", "s", "z"), ("n1", "v", "FORMAT"), ("n2", "v", ""), ("n3", "five", "")]


def test_a_gzipped_insert_over_plain_http(store_endpoint: StoreEndpoint) -> None:
    base = {
        "base_url": f"http://127.0.0.1:{store_endpoint.port}",
        "auth": ("holdfast", store_endpoint.writer_password),
    }
    with httpx.Client(**base) as http:  # type: ignore[arg-type]  # one dict of two types
        answer = http.post(
            "/",
            params={"query": "INSERT INTO hf_store.action FORMAT JSONEachRow"},
            content=gzip.compress(b'{"incident_id": "gz", "path": "7"}\n{"incident_id": "gz8"}\n'),
            headers={"Content-Encoding": "gzip"},
        )
        path = http.post(
            "/", content="SELECT path FROM hf_store.action WHERE incident_id = 'gz'"
        ).text

    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "2"
    assert path == "7\n"


def test_an_insert_with_rows_that_do_not_parse_writes_none(store_endpoint: StoreEndpoint) -> None:
    auth = ("holdfast", store_endpoint.writer_password)
    answer = httpx.post(
        f"http://127.0.0.1:{store_endpoint.port}/",
        params={"query": "INSERT INTO hf_store.action FORMAT Arrow"},
        content=b"garbage",
        auth=auth,
    )

    assert answer.status_code >= 400
    assert answer.text.startswith("Code: ")


def test_curl(store_endpoint: StoreEndpoint) -> None:
    url = f"http://127.0.0.1:{store_endpoint.port}/?query=SELECT+1+AS+x+FORMAT+JSONEachRow"
    user = f"analyst:{store_endpoint.analyst_password}"

    answer = subprocess.run(
        ["curl", "-sS", "-u", user, url], capture_output=True, check=True, timeout=30
    )

    assert json.loads(answer.stdout) == {"x": 1}


def test_ping_needs_no_credential(store_endpoint: StoreEndpoint) -> None:
    assert httpx.get(f"http://127.0.0.1:{store_endpoint.port}/ping").text == "Ok.\n"


def test_the_greeting_of_clickhouse_go_is_answered_in_its_framing(
    store_endpoint: StoreEndpoint,
) -> None:
    question = "SELECT displayName(), version(), revision(), timezone()"
    auth = ("analyst", store_endpoint.analyst_password)
    fields = {"client_protocol_version": "54483", "default_format": "Native"}

    answer = httpx.post(
        f"http://127.0.0.1:{store_endpoint.port}/", params=fields, content=question, auth=auth
    )

    info, shape, rest = answer.content[:8], answer.content[8:10], answer.content[10:]
    texts = [b"displayName()", b"String", b"", b"holdfast", b"version()", b"String", b""]
    lead = b"".join(bytes([len(text)]) + text for text in texts)
    assert info == b"\x01\x00\x02\xff\xff\xff\xff\x00"  # no overflow, no bucket
    assert shape == b"\x04\x01"  # columns, rows
    assert rest.startswith(lead)
    assert (
        b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00\x0atimezone()\x06String\x00\x03UTC" in rest
    )


def test_compress_1_gives_blocks_with_their_checksums(store_endpoint: StoreEndpoint) -> None:
    from clickhouse_cityhash.cityhash import CityHash128

    auth = ("analyst", store_endpoint.analyst_password)
    sql = "SELECT number FROM numbers(300000)"

    body = httpx.post(
        f"http://127.0.0.1:{store_endpoint.port}/", params={"compress": "1"}, content=sql, auth=auth
    ).content

    lines = b""
    while body:
        checksum, block = body[:16], body[16:]
        size = int.from_bytes(block[1:5], "little")
        high, low = divmod(CityHash128(block[:size]), 1 << 64)
        assert checksum == high.to_bytes(8, "little") + low.to_bytes(8, "little")
        assert block[:1] == b"\x82"  # LZ4
        length = int.from_bytes(block[5:9], "little")
        lines += lz4.block.decompress(block[9:size], uncompressed_size=length)
        body = block[size:]
    assert lines == b"".join(b"%d\n" % number for number in range(300_000))
