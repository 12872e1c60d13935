"""How a connection over HTTP comes from the acceptor to its protocol."""

import uvicorn

from ingest.acceptor import Crowd, Door, Newcomer
from ingest.http_body import RequestReader
from ingest.receive import Receiver
from ingest.shortcut import UploadProtocol


def http_door(
    http: uvicorn.Server, receiver: Receiver, reader: RequestReader, crowd: Crowd
) -> Door:
    """Judge newcomers by a key in their first bytes, and let uvicorn's parts serve them."""

    def shows_key(data: bytes, address: str) -> bool:
        app_id = reader.app_shown(data)
        return app_id is not None and reader.may_send(app_id, reader.slot_of(address))

    def serve(newcomer: Newcomer, is_known: bool) -> UploadProtocol:
        return UploadProtocol(
            receiver=receiver,
            reader=reader,
            connections=crowd.connections,
            turns=crowd.turns,
            newcomer=newcomer,
            is_known=is_known,
            config=http.config,
            server_state=http.server_state,
            app_state={},
        )

    return Door(shows_key, serve)
