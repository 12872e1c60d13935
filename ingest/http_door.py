"""How a connection over HTTP comes from the acceptor to its protocol."""

from typing import Final

import uvicorn

from ingest.acceptor import Crowd, Door, Look, Newcomer
from ingest.http_body import RequestReader
from ingest.receive import Receiver
from ingest.shortcut import UploadProtocol

_GLANCE_BYTES: Final = 4096


def http_door(
    http: uvicorn.Server, receiver: Receiver, reader: RequestReader, crowd: Crowd
) -> Door:
    """Judge newcomers by a key in their first bytes, and let uvicorn's parts serve them."""

    def judge(said: bytes, address: str, _has_turn: bool) -> Look:
        app_id = reader.app_shown(said)
        is_first = reader.goes_first(app_id, reader.slot_of(address))
        return Look.KNOWN if is_first else Look.STRANGER

    def serve(newcomer: Newcomer, look: Look) -> UploadProtocol:
        return UploadProtocol(
            receiver=receiver,
            reader=reader,
            connections=crowd.connections,
            turns=crowd.turns,
            newcomer=newcomer,
            is_known=look is Look.KNOWN,
            config=http.config,
            server_state=http.server_state,
            app_state={},
        )

    return Door(judge, serve, _GLANCE_BYTES)
