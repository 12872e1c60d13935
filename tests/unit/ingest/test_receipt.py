"""Receipts as bytes."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.receipt import Receipt, Refusal, to_protobuf
from wire.pb import telemetry_pb2 as pb

COUNTS = st.integers(0, 2**32 - 1)
REFUSALS = st.builds(Refusal, st.text(max_size=9), st.text(max_size=9), COUNTS, st.text(max_size=9))


@given(
    st.builds(
        Receipt,
        batch_id=st.binary(max_size=17) | st.binary(min_size=16, max_size=16),
        received_rows=COUNTS,
        accepted_rows=COUNTS,
        refused=st.lists(REFUSALS, max_size=2).map(tuple),
        unknown_fields=st.just(0) | COUNTS,
    )
)
def test_a_receipt_has_the_bytes_that_protobuf_would_write(receipt: Receipt) -> None:
    whole = pb.Receipt(
        batch_id=receipt.batch_id,
        received_rows=receipt.received_rows,
        accepted_rows=receipt.accepted_rows,
        refused=[pb.Refusal(**refusal._asdict()) for refusal in receipt.refused],
        unknown_fields=receipt.unknown_fields,
    )

    assert to_protobuf(receipt) == whole.SerializeToString()
