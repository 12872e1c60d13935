"""Plain state as bytes: MessagePack, with numpy arrays and every float bit for bit."""

from typing import Any

import msgspec
import numpy as np


def pack(state: object) -> bytes:
    """Plain values, dataclasses and numpy arrays as msgpack, bit for bit."""
    return msgspec.msgpack.encode(state, enc_hook=_encode_array)


def unpack(body: bytes) -> Any:  # noqa: ANN401  # the shape is the packer's
    """The inverse of `pack` for plain values and arrays."""
    return _decode_arrays(msgspec.msgpack.decode(body))


def _encode_array(value: object) -> object:
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return {"__text__": value.tolist()}
    if isinstance(value, np.ndarray):
        return {"__array__": [value.dtype.str, list(value.shape), value.tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"state holds a {type(value).__name__}")


def _decode_arrays(value: Any) -> Any:  # noqa: ANN401  # the shape is the packer's
    if isinstance(value, dict):
        if "__array__" in value:
            dtype, shape, body = value["__array__"]
            return np.frombuffer(body, dtype).reshape(shape).copy()
        if "__text__" in value:
            return np.array(value["__text__"])
        return {key: _decode_arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode_arrays(item) for item in value]
    return value
