"""The columns that we write ourselves are what fastavro would have written."""

import io

import fastavro
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wire.avro_table import table_parts

SCHEMA = fastavro.parse_schema({"type": "map", "values": "bytes"})
columns = st.sampled_from(["<i4", "u1", "<f4", "<i8", "V16"])
lengths = st.one_of(st.integers(0, 20), st.sampled_from([63, 64, 8191, 8192, 300_000]))
tables = st.dictionaries(st.text(max_size=80), st.tuples(columns, lengths), max_size=70)


@given(tables, st.booleans())
def test_a_table_is_the_map_that_fastavro_writes(
    said: dict[str, tuple[str, int]], is_strided: bool
) -> None:
    rng = np.random.default_rng(len(said))
    table = {}
    for name, (dtype, length) in said.items():
        raw = np.frombuffer(rng.bytes(2 * length * np.dtype(dtype).itemsize), dtype)
        table[name] = raw[::2] if is_strided else raw[:length]
    expected = io.BytesIO()
    fastavro.schemaless_writer(expected, SCHEMA, {k: c.tobytes() for k, c in table.items()})

    assert b"".join(table_parts(table)) == expected.getvalue()
