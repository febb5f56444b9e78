"""The endpoints as MCP tools, behind a flag: these and no others, and they answer."""

import ast
import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gazevlm_core.scanpath import LONGEST_DWELL_MS
from tests.diagnose.serving import serving_engine

if TYPE_CHECKING:
    from mcp import ClientSession


@pytest.fixture(scope="module")
def address(tiny_checkpoint: Path) -> Iterator[str]:
    from gazevlm_core.inference import GazeEngine

    name = str(tiny_checkpoint)
    with serving_engine(name, GazeEngine.load(name, device="cpu"), mcp_server=True) as url:
        yield f"{url}gradio_api/mcp/"


def in_session(address: str, work: Callable[["ClientSession"], Coroutine[Any, Any, Any]]) -> Any:
    """Result of a coroutine with a session; in a thread of its own, since Playwright may hold this thread's loop."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def connect() -> Any:
        async with streamablehttp_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await work(session)

    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(connect())))
    thread.start()
    thread.join(120)
    (result,) = results
    return result


def test_the_endpoints_are_the_only_tools(address: str) -> None:
    tools = in_session(address, lambda session: session.list_tools()).tools
    named = {tool.name.rsplit("_", 1)[-1]: tool for tool in tools}
    assert sorted(named) == ["diagnose", "models"]
    assert len(tools) == 2
    assert set(named["diagnose"].inputSchema["properties"]) >= {"image", "question", "model", "path_seed"}
    look_at = named["diagnose"].inputSchema["properties"]["look_at"]
    assert (look_at["maxItems"], look_at["items"]["minItems"], look_at["items"]["maxItems"]) == (12, 2, 3)
    number = {"type": "number", "minimum": 0, "maximum": LONGEST_DWELL_MS}
    assert look_at["items"]["items"] == {"anyOf": [number, {"type": "null"}]}
    assert "Diagnose one image." in (named["diagnose"].description or "")


def test_a_tool_answers(address: str, tiny_checkpoint: Path) -> None:
    async def call(session: "ClientSession") -> Any:
        (name,) = [tool.name for tool in (await session.list_tools()).tools if tool.name.endswith("models")]
        return await session.call_tool(name, {})

    answer = in_session(address, call)
    assert not answer.isError
    # Gradio writes records as Python literals
    assert ast.literal_eval(answer.content[0].text)[0]["name"] == tiny_checkpoint.name
