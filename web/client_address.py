"""Where a request comes from, behind a proxy or not; the only place that decides it."""

import ipaddress
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from web.roles import SPACE_VARIABLE, SYSTEM_VARIABLE

TRUSTED_VARIABLE = "GAZEVLM_TRUSTED_PROXIES"
SERVER_VARIABLE = "FORWARDED_ALLOW_IPS"  # what uvicorn, which serves the page, reads when it starts
# A Space is reached through proxies of the Hub alone, which have private addresses and add the visitor's to the header.
SPACE_PROXIES = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fd00::/8"


class ServingSettingsError(ValueError):
    """A setting of the environment that cannot be used; the message says why and what to do."""


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


def trusted_proxies(environment: Mapping[str, str]) -> str:
    """Whose `X-Forwarded-For` is believed: addresses and networks, separated by commas.

    Nobody's where nothing is set, not even that of this machine: whoever shares a page through a tunnel would let
    everybody choose an address. On a Space, that of the proxies before it.

    Raises:
        ServingSettingsError: the variable names something that is neither.
    """
    text = environment.get(TRUSTED_VARIABLE, "").strip()
    if not text:
        on_space = environment.get(SYSTEM_VARIABLE) == "spaces" and bool(environment.get(SPACE_VARIABLE))
        return SPACE_PROXIES if on_space else ""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        try:
            ipaddress.ip_network(name)
        except ValueError:
            raise ServingSettingsError(
                f"{TRUSTED_VARIABLE} names {name[:40]!r}; give addresses or networks such as 10.0.0.0/8, "
                "separated by commas"
            ) from None
    return ",".join(names)


def believe_proxies(trusted: str) -> None:
    """Let the server that is started next in this process believe these proxies and no others.

    Args:
        trusted: from `trusted_proxies`.
    """
    os.environ[SERVER_VARIABLE] = trusted
