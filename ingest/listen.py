"""Sockets to listen on. A name or a wildcard means the same to HTTP, gRPC and health."""

import ipaddress
import os
import socket
from typing import Final

from wire.errors import PermanentError

_BACKLOG: Final = 8192  # or what the kernel allows
_EVERYWHERE: Final = ("", "*", "0.0.0.0", "::")  # noqa: S104  # compared, not bound


def listeners(host: str, port: int, *, setting: str) -> list[socket.socket]:
    """Listening sockets on one port (0: any free one), one for each address of `host`.

    A wildcard of either family listens on both, as gRPC does. `setting` names the port's setting.
    Raises PermanentError ``address_unusable``.
    """
    made: list[socket.socket] = []
    try:
        for family, address in _addresses(host):
            chosen = made[0].getsockname()[1] if made else port
            made.append(
                socket.create_server(
                    (address, chosen),
                    family=family,
                    backlog=_BACKLOG,
                    dualstack_ipv6=address == "::",
                )
            )
    except OSError as error:
        for listener in made:
            listener.close()
        raise unusable(host, port, os.strerror(error.errno or 0), setting) from error
    return made


def joined(host: str, port: int) -> str:
    """``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local(host: str) -> str:
    """An address that reaches a server on `host` from this machine."""
    return "127.0.0.1" if host in _EVERYWHERE else host


def prefix_of(address: str) -> str:
    """What counts as one neighbour: an IPv4 address, or the /64 that an IPv6 customer owns."""
    if ":" not in address:
        return address
    found = ipaddress.IPv6Address(address.partition("%")[0])
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return found.packed[:8].hex()


def unusable(host: str, port: int, why: str, setting: str) -> PermanentError:
    """One line for whoever starts the node."""
    return PermanentError(
        "address_unusable",
        f"cannot listen on {joined(host, port)}: {why}",
        field=setting,
        accepted="an address of this machine (HOLDFAST_HOST) and a free port, or 0 for any",
    )


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host in _EVERYWHERE:
        if socket.has_dualstack_ipv6():
            return [(socket.AF_INET6, "::")]
        return [(socket.AF_INET, "0.0.0.0")]  # noqa: S104  # asked for
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise unusable(host, 0, "the name or address is not known", "HOLDFAST_HOST") from error
    # each once, IPv4 first: its port is the one that is free on most machines
    pairs = dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found)
    return sorted(pairs, key=lambda pair: pair[0] != socket.AF_INET)
