"""Where a request comes from, behind a proxy or not; the only place that decides it."""

import ipaddress
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

SERVER_VARIABLE = "FORWARDED_ALLOW_IPS"  # what uvicorn, which serves the page, reads when it starts


class Asked(Protocol):
    """What is needed of a web request; Gradio's and Starlette's have it."""

    @property
    def client(self) -> object:
        """The other end of the connection, or who a trusted proxy says is behind it; its `host` is an address."""


def client_address(request: Asked) -> str:
    """The address that a request comes from; "" where it has none.

    The server has set it: to the other end of the connection, or, where that is a trusted proxy, to the last address
    of `X-Forwarded-For` that is none. What anybody else writes there is never read. IPv6 counts by its /64, which is
    what one household is given; all else would be as many addresses as somebody likes.
    """
    host = str(getattr(request.client, "host", "") or "")
    return network_of(host)


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """An IPv4 address, the /64 of an IPv6 address, or the text itself where it is neither."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def believe_proxies(trusted: Iterable[str]) -> None:
    """Let the server that is started next in this process believe these proxies and no others.

    Args:
        trusted: addresses and networks; their `X-Forwarded-For` is believed.
    """
    os.environ[SERVER_VARIABLE] = ",".join(trusted)
