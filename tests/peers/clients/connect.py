"""`cloakroom connect`: the official Python SDK as a client that only starts commands, at four servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged

from say import check, compare, peers, root, said, same
from walk import OFFICIAL, STEPS, content, pinned, told, walk

PEERS = peers()
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}
# What the bridges said on standard error, all of them.
SAID = Path(tempfile.mkstemp(prefix="cloakroom-connect-")[1])


@contextlib.asynccontextmanager
async def direct(server, user, mode: str, **more):
    headers = {"Authorization": f"Bearer {user.token}"}
    if server.transport == "sse":
        async with Client(sse_client(server.direct, headers=headers), mode=mode, **more) as ready:
            yield ready
        return
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(server.direct, http_client=http), mode=mode, **more) as ready:
            yield ready


@contextlib.asynccontextmanager
async def bridged(server, user, mode: str, key: str | None = None, **more):
    command = StdioServerParameters(
        command=PEERS.binary, args=["connect", server.proxied], env={"CLOAKROOM_KEY": key or user.key}
    )
    with SAID.open("a") as errors:
        async with Client(stdio_client(command, errlog=errors), mode=mode, **more) as ready:
            yield ready


def fixture(mode: str):
    async def steps(side) -> dict:
        async with side.reach(side.server, side.user, mode, **OFFICIAL) as client:
            seconds = 0.8 if side.server.transport == "http" else 0
            return await walk(client, lambda name: getattr(client, name), "progress_callback", seconds)

    return steps


def everything(mode: str):
    async def steps(side) -> dict:
        async with side.reach(side.server, side.user, mode, **OFFICIAL) as client:
            transcript: dict[str, object] = {"revision": client.protocol_version}
            for method in ("list_tools", "list_prompts", "list_resources"):
                transcript[method] = told(await getattr(client, method)())
            for name, arguments in (
                ("echo", {"message": "hällo"}),
                ("get-sum", {"a": 1, "b": "two"}),
                ("trigger-elicitation-request", {}),
                ("trigger-sampling-request", {"prompt": "stressed", "maxTokens": 10}),
            ):
                transcript[name] = told(await client.call_tool(name, arguments))
            # It asks for the roots on its own, a while after it was met, and the SDK's own SSE client ends badly
            # when that comes while it is closed.
            await client.call_tool("get-roots-list", {})
            return transcript

    return steps


def both(server, user) -> list:
    return [SimpleNamespace(reach=reach, server=server, user=user) for reach in (direct, bridged)]


async def fixture_as_directly(server, mode: str, revision: str) -> None:
    seen = await compare(fixture(mode), *both(server, PEERS.alice), STEPS)
    pinned(seen, revision, PEERS.alice.fingerprint)


async def everything_as_directly(server, mode: str) -> None:
    seen = await compare(everything(mode), *both(server, PEERS.alice), 8)
    assert seen["revision"] == "2025-11-25", seen["revision"]
    assert content(seen, "echo") == "Echo: hällo", seen["echo"]
    assert "desserts" in content(seen, "trigger-sampling-request"), seen["trigger-sampling-request"]


async def own_secret(mode: str) -> None:
    """Two bridges, twenty calls at once on each."""
    users = (PEERS.alice, PEERS.bob)
    async with bridged(PEERS.fixture, users[0], mode) as alice, bridged(PEERS.fixture, users[1], mode) as bob:
        calls = [client.call_tool("whoami") for client in (alice, bob) * 20]
        seen = [said(one) for one in await asyncio.gather(*calls)]
    same(seen, [user.fingerprint for user in users] * 20)


async def unhindered(mode: str) -> None:
    """A long call stops no other, and its progress arrives as it is made."""
    arrived: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        arrived.append(time.monotonic())

    async with bridged(PEERS.fixture, PEERS.alice, mode) as alice:
        started = time.monotonic()
        long = alice.call_tool("count", {"steps": 5, "pause_ms": 500}, progress_callback=progress)
        long = asyncio.create_task(long)
        await asyncio.sleep(0.1)
        same(said(await alice.call_tool("whoami")), PEERS.alice.fingerprint)
        assert not long.done(), "the long call was over first"
        same(said(await long), "counted to 5")
        ended = time.monotonic()
    same(len(arrived), 5, "notifications")
    assert arrived[-1] - arrived[0] > 0.6, f"all came within {arrived[-1] - arrived[0]:.2f} s"
    assert arrived[0] - started < 1.5 and ended - arrived[-1] > 0.1, (started, arrived, ended)


async def cancelled(server, mode: str) -> None:
    """Whoever stops waiting cancels, in either era."""
    label = f"{server.transport}, {mode}"
    async with bridged(server, PEERS.alice, mode) as alice:
        call = asyncio.create_task(alice.call_tool("wait", {"label": label}))
        await until(alice, "waiting", label)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await until(alice, "cancelled", label)


async def until(client, state: str, label: str) -> None:
    while said(await client.call_tool("waited", {"label": label})) != state:
        await asyncio.sleep(0.05)


async def logged(mode: str) -> None:
    heard: list[str] = []

    async def log(params) -> None:
        heard.append(params.data)

    # Of 2026-07-28 each request says whether it wants lines.
    level = {} if mode == "legacy" else {"log_level": "info"}
    async with bridged(PEERS.fixture, PEERS.alice, mode, logging_callback=log, **level) as alice:
        await alice.call_tool("test_tool_with_logging")
    same(heard, ["Tool execution started", "Tool processing data", "Tool execution completed"])


async def mirrored() -> None:
    """A header that only the list of tools speaks of."""
    async with bridged(PEERS.fixture, PEERS.alice, "2026-07-28") as alice:
        await alice.list_tools()
        for region in ("eu-west", "zürich "):
            seen = said(await alice.call_tool("test_header_param", {"region": region}))
            same(seen, f"region: {region}")


async def announced() -> None:
    """What the server says on its own."""
    heard: list = []

    async def hear(message) -> None:
        heard.append(type(message).__name__)

    async with bridged(PEERS.fixture, PEERS.alice, "legacy", message_handler=hear) as alice:
        # Before the GET stream is open it is told to nobody.
        while not heard:
            await alice.call_tool("announce")
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.5)
        heard.clear()
        await alice.call_tool("announce")
        await asyncio.sleep(1)
    same(heard, ["ResourceUpdatedNotification"])


async def listened() -> None:
    async with bridged(PEERS.fixture, PEERS.alice, "2026-07-28") as alice:
        async with alice.listen(tools_list_changed=True) as subscription:
            await alice.call_tool("test_trigger_tool_change")
            async for event in subscription:
                assert isinstance(event, ToolsListChanged), event
                break
        # It was closed, and nothing else was.
        same(said(await alice.call_tool("whoami")), PEERS.alice.fingerprint)


async def resumed() -> None:
    async with bridged(PEERS.fixture, PEERS.alice, "legacy") as alice:
        text = said(await alice.call_tool("test_reconnection", {"label": "resumed"}))
    assert "label=resumed" in text, text


async def refused(server, mode: str, key: str) -> None:
    """The client learns why, in the words of the proxy."""
    try:
        async with bridged(server, PEERS.alice, mode, key) as client:
            await client.list_tools()
    except Exception as group:
        text = str(root(group))
        assert "ask your administrator" in text, text
    else:
        raise AssertionError("the client was let in")


async def ends_with_its_input() -> None:
    """The session is ended too: its DELETE is in the proxy's log (see connect.py)."""
    async with bridged(PEERS.fixture, PEERS.alice, "legacy") as alice:
        await alice.list_tools()
        process = running()
        assert len(process) == 1, process
    deadline = time.monotonic() + 1
    while running():
        assert time.monotonic() < deadline, "it is still there"
        await asyncio.sleep(0.02)


def running() -> list[list[str]]:
    """The command lines of the bridges this process started."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                line = (Path("/proc") / child / "cmdline").read_bytes().decode().split("\0")
                found.append(line)
    return [line for line in found if "connect" in line]


async def unshown() -> None:
    """The key is in no command line, and nothing of it, or of a secret, was ever said."""
    async with bridged(PEERS.fixture, PEERS.alice, "legacy") as alice:
        await alice.list_tools()
        shown = str(running())
        assert PEERS.fixture.proxied in shown, shown
    shown += SAID.read_text()
    for user in (PEERS.alice, PEERS.bob):
        assert user.key not in shown and user.token not in shown, "it was shown"
    assert PEERS.wrong_key not in shown, "it was shown"


async def main() -> None:
    for mode, revision in MODES.items():
        await check(f"{mode}, fixture: told as directly", fixture_as_directly(PEERS.fixture, mode, revision))
        await check(f"{mode}: each user's calls carry their own secret", own_secret(mode))
        await check(f"{mode}: a long call stops no other", unhindered(mode))
        await check(f"{mode}: who stops waiting cancels", cancelled(PEERS.fixture, mode))
        await check(f"{mode}: what the server logs arrives", logged(mode))
        await check(f"{mode}: a key of nobody is refused with words", refused(PEERS.fixture, mode, PEERS.wrong_key))
    for mode in ("legacy", "auto"):
        revision = {"legacy": "2025-11-25", "auto": "2026-07-28"}[mode]
        await check(f"{mode}, fixture, SSE: told as directly", fixture_as_directly(PEERS.fixture_sse, mode, revision))
        await check(f"{mode}, server-everything: told as directly", everything_as_directly(PEERS.everything, mode))
        await check(f"{mode}, server-everything, SSE: told as directly", everything_as_directly(PEERS.everything_sse, mode))
        await check(f"{mode}, SSE: a key of nobody is refused with words", refused(PEERS.fixture_sse, mode, PEERS.wrong_key))
    await check("legacy, SSE: who stops waiting cancels", cancelled(PEERS.fixture_sse, "legacy"))
    await check("2026-07-28: a header that the tool wants is sent", mirrored())
    await check("legacy: what the server says on its own arrives", announced())
    await check("2026-07-28: subscriptions/listen hears a change", listened())
    await check("legacy: an answer cut off is resumed", resumed())
    await check("ends when its input does", ends_with_its_input())
    await check("neither key nor secret was shown", unshown())


asyncio.run(main())
os.unlink(SAID)
