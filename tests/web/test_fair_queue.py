"""The queue: two waiting requests of a session, a share of an address, and nobody before his turn."""

import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.web.served import Served, serving_small
from web.server import (
    BYTES_OF_ADDRESS,
    NO_HANDLER,
    OVER_SESSION,
    SESSIONS,
    WAITING,
    WAITING_OF_ADDRESS,
    Latest,
)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving_small() as up:
        yield up


def join(client: httpx.Client, served: Served, session: str, name: str = "slow") -> httpx.Response:
    body = {"data": [session], "fn_index": served.number(name), "session_hash": session}
    return client.post("gradio_api/queue/join", json=body)


def wait_until_running(served: Served) -> None:
    while not served.page._queue.get_active_worker_count():
        time.sleep(0.01)


def test_sixty_joins_of_one_session_leave_the_queue_to_the_others(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        assert join(client, served, "greedy").status_code == 200
        wait_until_running(served)
        answers = [join(client, served, "greedy") for _ in range(60)]
        assert Counter(answer.status_code for answer in answers) == {200: 2, 429: 58}
        assert answers[-1].json()["detail"] == OVER_SESSION
        assert join(client, served, "greedy", "small").status_code == 200, "what need not wait is not counted"
        assert join(client, served, "other").status_code == 200
        # a page that opens asks for several small things at once
        burst = [join(client, served, "opening", "small").status_code for _ in range(4)]
        assert burst == [200] * 4


def test_one_address_has_a_share_whatever_sessions_it_makes_up(served: Served) -> None:
    def from_address(address: str) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(local_address=address), base_url=served.url, timeout=30)

    with from_address("127.0.0.1") as hostile, from_address("127.0.0.2") as other:
        assert join(hostile, served, "first").status_code == 200
        wait_until_running(served)
        statuses = Counter(join(hostile, served, f"s{number}").status_code for number in range(100))
        assert statuses == {200: WAITING_OF_ADDRESS, 429: 100 - WAITING_OF_ADDRESS}
        assert WAITING_OF_ADDRESS < WAITING
        assert join(other, served, "other").status_code == 200
        assert join(hostile, served, "same", "small").status_code == 200, "the small queues are apart"


def test_what_waits_is_bounded_in_bytes_too(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        assert join(client, served, "first").status_code == 200
        wait_until_running(served)
        statuses = []
        for number in range(6):
            body = {"data": ["x" * 3_500_000], "fn_index": served.number("slow"), "session_hash": f"s{number}"}
            statuses.append(client.post("gradio_api/queue/join", json=body).status_code)
    assert statuses == [200] * (BYTES_OF_ADDRESS // 3_500_000) + [429] * 2


def event(address: str, session: str, at: float) -> Any:
    request = SimpleNamespace(client=SimpleNamespace(host=address))
    return SimpleNamespace(request=request, session_hash=session, enqueue_time=at)


def test_addresses_take_turns_and_within_one_its_sessions() -> None:
    import gradio as gr

    from web.server import FairQueue

    with gr.Blocks() as page:
        gr.Textbox()
    queue = FairQueue(page)
    queue.active_jobs = [None] * 4
    one = SimpleNamespace(queue=[], concurrency_id="model", concurrency_limit=1, current_concurrency=0)
    queue.event_queue_per_concurrency_id = {"model": one}
    one.queue = [event("10.0.0.1", f"s{number % 2}", number) for number in range(4)] + [event("10.0.0.2", "o", 9)]
    order = []
    while found := queue.get_events():
        order.append((found[0][0].session_hash, found[0][0].enqueue_time))
    assert order == [("s0", 0), ("o", 9), ("s1", 1), ("s0", 2), ("s1", 3)]


def test_answers_that_nobody_fetches_are_few_and_who_waits_is_not_forgotten() -> None:
    kept = Latest()
    for name in ("waits", "reads", "left", "left too", "new"):
        kept[name] = name
    assert kept["reads"] == "reads"  # as each message that is sent or fetched does
    kept.keep(3, {"waits"})
    assert list(kept) == ["waits", "new", "reads"]


def test_a_flood_of_sessions_costs_nobody_his_answer(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        assert join(client, served, "first").status_code == 200
        wait_until_running(served)
        assert join(client, served, "waits").status_code == 200
        for number in range(SESSIONS + 50):
            join(client, served, f"s{number}", "small")
        assert len(served.page._queue.answers) <= SESSIONS + 1
        served.go.set()
        with client.stream("GET", "gradio_api/queue/data", params={"session_hash": "waits"}) as answer:
            lines = [line for line in answer.iter_lines() if "process_completed" in line]
        assert '"data":["waits"]' in lines[0]


def test_a_flood_of_sessions_makes_the_page_forget_no_other_visitor(served: Served) -> None:
    def from_address(address: str) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(local_address=address), base_url=served.url, timeout=30)

    with from_address("127.0.0.1") as hostile, from_address("127.0.0.2") as other:
        assert join(other, served, "other's page", "small").status_code == 200
        for number in range(SESSIONS + 50):
            join(hostile, served, f"s{number}", "small")
    states = served.page.app.state_holder
    assert "other's page" in states
    assert len(states.session_data) == len(states._whose) == SESSIONS
    assert f"s{SESSIONS + 49}" in states
    assert "s0" not in states


@pytest.mark.parametrize("number", [9999, -1, None])
def test_a_handler_that_is_none_is_one_sentence(served: Served, number: int | None) -> None:
    body = {"data": [], "fn_index": number, "session_hash": "s"}
    answer = httpx.post(f"{served.url}gradio_api/queue/join", json=body)
    assert (answer.status_code, answer.json()) == (404, {"detail": NO_HANDLER})
