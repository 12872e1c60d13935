"""How a connection over gRPC comes from the acceptor to grpcio, or to somebody who refuses it.

HTTP/2 folds headers, so the first call's are unfolded before anything else is done: they show a
valid key, or nothing of this connection ever reaches grpcio.
"""

import asyncio
from typing import Final

from ingest.acceptor import Door, Look, Newcomer
from ingest.grpc_relay import Client, Relay
from ingest.grpc_stranger import Stranger
from ingest.http2 import PREFACE, greeting, pongs
from ingest.http2_guard import FIRST_BLOCK_BYTES_MAX, REFUSED, HeaderGuard

_GLANCE_BYTES: Final = 2 * FIRST_BLOCK_BYTES_MAX
_SHORT_BYTES: Final = 2 * 1024
"""Stock clients' first calls have 500: 0.1 ms to unfold. What is longer has its turn for that."""


def grpc_door(relay: Relay, stranger_s: float) -> Door:
    """Judge newcomers by the key of their first call. `stranger_s` is the time of one without."""
    callers = relay.callers

    def judge(said: bytes, address: str, has_turn: bool) -> Look:
        if not PREFACE.startswith(said[: len(PREFACE)]):
            return Look.HOPELESS
        calls = list[tuple[int, bytes]]()
        guard = HeaderGuard(calls, 1, FIRST_BLOCK_BYTES_MAX if has_turn else _SHORT_BYTES)
        if guard.passed(said) == REFUSED:
            too_long = Look.STRANGER if has_turn else Look.LONG
            return too_long if guard.is_too_long else Look.HOPELESS
        if not calls:
            return Look.MORE if len(said) < _GLANCE_BYTES else Look.HOPELESS
        shown, slot = calls[0][1], callers.slot_of(address)
        if not callers.is_welcome(shown, slot):
            return Look.STRANGER
        return Look.KNOWN if callers.goes_first(shown, slot, 1) else Look.LATER

    def serve(newcomer: Newcomer, look: Look) -> asyncio.Protocol:
        if look is Look.STRANGER:
            return Stranger(relay, newcomer, stranger_s)
        return Client(relay, newcomer)

    first = greeting(relay.crowd.connections.limits.keyless_max)
    return Door(judge, serve, _GLANCE_BYTES, first, stranger_s, pongs)
