"""Where a request comes from: the header of a proxy counts from the proxies that are named, and from nobody else."""

import asyncio
from types import SimpleNamespace

import httpx
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.web.served import serving_small
from web.guard import client_address
from web.settings import SPACE_PROXIES, Settings


def trusted_proxies(environment: dict[str, str]) -> tuple[str, ...]:
    return Settings.from_environment(environment).trusted_proxies


def address(peer: str, forwarded: str, trusted: tuple[str, ...]) -> str:
    """What the server makes of a request, with its own reading of the header."""
    seen = {}

    async def page(scope, receive, send):
        seen.update(scope)

    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    asyncio.run(ProxyHeadersMiddleware(page, ",".join(trusted))(scope, None, None))
    return client_address(SimpleNamespace(client=SimpleNamespace(host=seen["client"][0])))


def test_a_forged_header_is_read_from_nobody_who_is_not_named() -> None:
    nobody = trusted_proxies({})
    for peer in ("127.0.0.1", "10.0.0.5", "203.0.113.9"):
        assert address(peer, "1.2.3.4", nobody) == peer
    one = trusted_proxies({"GAZEVLM_TRUSTED_PROXIES": " 127.0.0.1 "})
    assert address("127.0.0.1", "1.2.3.4, 203.0.113.9", one) == "203.0.113.9", "what the proxy added, not what was sent"
    assert address("10.0.0.5", "1.2.3.4", one) == "10.0.0.5"


def test_the_served_page_reads_no_forged_header() -> None:
    """Uvicorn would believe every program of this machine, and so whoever comes through a tunnel."""
    with serving_small() as served:
        for headers in ({}, {"X-Forwarded-For": "1.2.3.4"}):
            answer = httpx.post(f"{served.url}gradio_api/run/address", json={"data": []}, headers=headers)
            assert answer.json()["data"] == ["127.0.0.1"]


def test_a_space_believes_the_proxies_before_it_and_the_visitor_behind_them() -> None:
    space = trusted_proxies({"SYSTEM": "spaces", "SPACE_ID": "a/b"})
    assert space == SPACE_PROXIES
    assert address("10.20.1.1", "6.6.6.6, 203.0.113.9, 10.20.3.4", space) == "203.0.113.9"
    assert address("203.0.113.9", "6.6.6.6", space) == "203.0.113.9", "nobody stands before it"


def test_one_household_is_one_address() -> None:
    def of(host: str | None) -> str:
        return client_address(SimpleNamespace(client=SimpleNamespace(host=host) if host else None))

    assert of("2001:db8::1") == of("2001:db8::ffff:2") != of("2001:db8:0:1::1")
    assert of("::ffff:192.0.2.1") == of("192.0.2.1") == "192.0.2.1"
    assert of(None) == ""
    assert of("testclient") == "testclient"
