"""The app as a tool server: what a program that speaks the Model Context Protocol finds there."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the app is an extra")
mcp = pytest.importorskip("mcp", reason="tools need gradio[mcp]")

import app  # noqa: E402
from synctalk.interface.studio import Studio  # noqa: E402


@pytest.fixture(scope="module")
def server(tiny_folder: Path) -> Iterator[str]:
    page = app.build(Studio([str(tiny_folder)]))
    _, url, _ = app.launch(page, "127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield f"{url}gradio_api/mcp/"
    page.close()


def ask(server: str, action: Any) -> Any:
    """What `action` returns of one session with the tool server."""
    from mcp.client.streamable_http import streamablehttp_client

    async def session() -> Any:
        async with (
            streamablehttp_client(server) as (read, write, _),
            mcp.ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await action(client)

    return asyncio.run(asyncio.wait_for(session(), 60))


def test_the_named_calls_are_tools_that_say_what_they_take(server):
    tools = {tool.name: tool for tool in ask(server, lambda client: client.list_tools()).tools}
    assert {"speak", "preview_voice", "list_avatars", "list_voices"} == set(tools)
    speak = tools["speak"]
    assert "talking-head avatar" in speak.description
    for name in ("text", "audio", "avatar", "voice", "preset", "seed"):
        assert len(speak.inputSchema["properties"][name]["description"]) > 20


def test_a_tool_call_is_answered(server):
    def avatars(client: Any) -> Any:
        return client.call_tool(next(name for name in names if name.endswith("list_avatars")), {})

    names = [tool.name for tool in ask(server, lambda client: client.list_tools()).tools]
    assert "tiny" in ask(server, avatars).content[0].text
