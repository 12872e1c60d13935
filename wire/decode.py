"""Uploads as bytes -> columns, a whole commit group at a time.

Three encodings, one result: protobuf, JSON with columns, JSON with row objects. A malformed upload
is named and left out; its neighbours decode. Cost is per upload, not per observation: packed
columns are viewed, never walked (see `wire/protobuf.py`).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from wire.columns import Decoded
from wire.errors import PermanentError, as_value
from wire.gather import Gather, Pieces
from wire.json_upload import pieces_of_json
from wire.protobuf import pieces_of_protobuf


class Encoding(StrEnum):
    """How an upload's body is written."""

    PROTOBUF = "protobuf"
    JSON = "json"


BYTES_MAX: Final = {Encoding.PROTOBUF: 1024 * 1024, Encoding.JSON: 6 * 1024 * 1024}
"""Of an upload unfolded: the largest that a client can say has 550 KB as protobuf, 750 KB where no
column is packed, and as JSON of a row a line 4 MB. Parsers take milliseconds for a megabyte."""
_PIECES: Final = {Encoding.PROTOBUF: pieces_of_protobuf, Encoding.JSON: pieces_of_json}


def decode_group(bodies: Sequence[tuple[Encoding, bytes]]) -> Decoded:
    """Decode a commit group; a malformed upload is named in `errors`, its neighbours decode.

    Errors are PermanentError with code ``malformed_protobuf``, ``malformed_json``,
    ``decoded_too_large``, ``elements_max``, ``column_length``, ``batch_id_length``, ``rows_max``,
    ``reports_max``, ``unknown_fields_max``, ``context_missing``, ``context_too_long`` or
    ``empty_body``, and the field's name.
    """
    gather = Gather()
    index: list[int] = []
    errors: dict[int, PermanentError] = {}
    for i, (encoding, body) in enumerate(bodies):
        try:
            index.append(gather.add(_pieces(encoding, body)))
        except PermanentError as error:
            index.append(-1)
            errors[i] = as_value(error)
    return Decoded(gather.group(), index, errors)


def _pieces(encoding: Encoding, body: bytes) -> Pieces:
    if not body:
        raise PermanentError("empty_body", "the upload has no bytes", accepted="an UploadRequest")
    if len(body) > BYTES_MAX[encoding]:
        raise PermanentError(
            "decoded_too_large",
            "the upload is larger than the largest that can be said",
            field="body",
            accepted=f"at most {BYTES_MAX[encoding]} bytes of {encoding}, decompressed",
        )
    return _PIECES[encoding](body)
