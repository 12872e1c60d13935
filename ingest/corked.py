"""Uvicorn's HTTP protocol, with a response's head and body in one write: one system call less."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = b"HTTP/1.1 "
_END = b"\r\n\r\n"


class Corked:
    """A transport that holds a response's head back until its body comes, or the loop turns."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Write, together with a head that was held."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_HEAD) and data.endswith(_END):
            self._held = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Write what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


class CorkedHttpTools(HttpToolsProtocol):
    """Give it to uvicorn as ``http=``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport; everything else is uvicorn's."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # the same methods
