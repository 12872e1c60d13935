"""Uploads as bytes -> columns, a whole commit group at a time. (Body follows.)"""

from collections.abc import Sequence
from enum import StrEnum

from wire.columns import Decoded


class Encoding(StrEnum):
    """How an upload's body is written."""

    PROTOBUF = "protobuf"
    JSON = "json"


def decode_group(bodies: Sequence[tuple[Encoding, bytes]]) -> Decoded:
    """Decode a commit group; a malformed upload is named in `errors`, its neighbours decode.

    Errors are PermanentError with code ``malformed_protobuf``, ``malformed_json``,
    ``column_length``, ``batch_id_length``, ``rows_max`` or ``empty_body``, and the field's name.
    """
    raise NotImplementedError
