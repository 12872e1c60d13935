"""How a connection over gRPC comes from the acceptor to grpcio, or to somebody who refuses it.

HTTP/2 folds headers, so the first call's are unfolded before anything else is done: they show a
valid key, or nothing of this connection ever reaches grpcio.
"""

import asyncio
from typing import Final

from ingest.acceptor import Door, Look, Newcomer
from ingest.grpc_callers import Callers
from ingest.grpc_relay import Client, Relay
from ingest.grpc_stranger import Stranger
from ingest.http2 import GREETING, PREFACE
from ingest.http2_guard import FIRST_BLOCK_BYTES_MAX, HeaderGuard

_GLANCE_BYTES: Final = 2 * FIRST_BLOCK_BYTES_MAX


def grpc_door(relay: Relay, callers: Callers, stranger_s: float) -> Door:
    """Judge newcomers by the key of their first call. `stranger_s` is the time of one without."""

    def judge(said: bytes, address: str) -> Look:
        calls = list[tuple[int, bytes]]()
        guard = HeaderGuard(calls, 1, FIRST_BLOCK_BYTES_MAX)
        if not PREFACE.startswith(said[: len(PREFACE)]):
            return Look.HOPELESS
        if guard.refuses(said):
            return Look.STRANGER if guard.is_too_long else Look.HOPELESS
        if not calls:
            return Look.MORE if len(said) < _GLANCE_BYTES else Look.HOPELESS
        is_welcome = callers.is_welcome(calls[0][1], callers.slot_of(address))
        return Look.KNOWN if is_welcome else Look.STRANGER

    def serve(newcomer: Newcomer, look: Look) -> asyncio.Protocol:
        if look is Look.KNOWN:
            return Client(relay, newcomer)
        return Stranger(relay, callers, newcomer, stranger_s)

    return Door(judge, serve, _GLANCE_BYTES, GREETING, stranger_s)
