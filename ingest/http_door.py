"""How a connection over HTTP comes from the acceptor to its protocol."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import uvicorn

from ingest.acceptor import Crowd, Door
from ingest.http_body import RequestReader
from ingest.receive import Receiver
from ingest.shortcut import UploadProtocol


def http_door(
    http: uvicorn.Server, receiver: Receiver, reader: RequestReader, crowd: Crowd
) -> Door:
    """Judge newcomers by a key in their first bytes, and let uvicorn's parts serve them."""
    loop, making = asyncio.get_running_loop(), set[asyncio.Task[object]]()

    def shows_key(data: bytes, address: str) -> bool:
        app_id = reader.app_shown(data)
        return app_id is not None and reader.may_send(app_id, reader.slot_of(address))

    def served(opened: socket.socket, is_known: bool) -> None:  # a callback
        made = partial(
            UploadProtocol,
            receiver=receiver,
            reader=reader,
            connections=crowd.connections,
            turns=crowd.turns,
            is_known=is_known,
            config=http.config,
            server_state=http.server_state,
            app_state={},
        )
        task = asyncio.create_task(_adopt(loop, made, opened))
        making.add(task)
        task.add_done_callback(making.discard)

    return Door(shows_key, served)


async def _adopt(
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], asyncio.Protocol],
    opened: socket.socket,
) -> None:
    try:
        await loop.connect_accepted_socket(protocol, opened)
    except OSError:
        opened.close()  # it hung up meanwhile
