"""HTTP+SSE of 2024-11-05: the official Python client, at two servers."""

from __future__ import annotations

import asyncio

from mcp import Client
from mcp.client.sse import sse_client

from say import check, compare, peers, said, sides
from walk import OFFICIAL, STEPS, content, pinned, told, walk

PEERS = peers()
# Over this transport, too, the client asks first whether the server speaks a newer revision.
MODES = {"auto": "2026-07-28", "legacy": "2025-11-25"}
EVERYTHING_STEPS = 10


def connect(side, mode: str) -> Client:
    return Client(sse_client(side.url, headers=side.headers), mode=mode, **OFFICIAL)


def fixture(mode: str):
    async def steps(side) -> dict:
        async with connect(side, mode) as client:
            return await walk(client, lambda name: getattr(client, name), "progress_callback", 0)

    return steps


def everything(mode: str):
    async def steps(side) -> dict:
        async with connect(side, mode) as client:
            transcript: dict[str, object] = {"revision": client.protocol_version}
            for method in ("list_tools", "list_prompts", "list_resources"):
                transcript[method] = told(await getattr(client, method)())
            first = transcript["list_resources"]["resources"][0]["uri"]
            transcript["a text"] = told(await client.read_resource(first))
            for name, arguments in (
                ("echo", {"message": "hällo"}),
                ("get-sum", {"a": 1, "b": "two"}),
                ("trigger-elicitation-request", {}),
                ("trigger-sampling-request", {"prompt": "stressed", "maxTokens": 10}),
                ("get-roots-list", {}),
            ):
                transcript[name] = told(await client.call_tool(name, arguments))
            # 350 ms after the start it asks for the roots by itself; a client that leaves then breaks.
            await asyncio.sleep(0.5)
            return transcript

    return steps


async def fixture_as_directly(mode: str, user, header: str) -> None:
    server = PEERS.sse
    pinned(await compare(fixture(mode), *sides(server.direct, server.proxied, user, header), STEPS), MODES[mode], user.fingerprint)


async def everything_as_directly(mode: str, user, header: str) -> None:
    server = PEERS.everything
    seen = await compare(everything(mode), *sides(server.direct, server.proxied, user, header), EVERYTHING_STEPS)
    assert seen["revision"] == "2025-11-25", seen["revision"]
    assert len(seen["list_tools"]["tools"]) > 15, seen["list_tools"]
    assert content(seen, "echo") == "Echo: hällo", seen["echo"]
    assert "desserts" in content(seen, "trigger-sampling-request"), seen["trigger-sampling-request"]
    assert "file:///home/alice" in content(seen, "get-roots-list"), seen["get-roots-list"]


async def at_once() -> None:
    server, users = PEERS.sse, (PEERS.alice, PEERS.bob)
    sides_of = [sides(server.direct, server.proxied, user)[1] for user in users]
    async with connect(sides_of[0], "legacy") as alice, connect(sides_of[1], "legacy") as bob:
        seen = [said(one) for one in await asyncio.gather(*(client.call_tool("whoami") for client in (alice, bob) * 10))]
    assert seen == [user.fingerprint for user in users] * 10, seen


async def default_server() -> None:
    """`/sse` alone is the default server's."""
    server = PEERS.sse
    side = sides(server.direct, server.default, PEERS.bob)[1]
    async with connect(side, "legacy") as client:
        assert said(await client.call_tool("whoami")) == PEERS.bob.fingerprint


async def main() -> None:
    for mode in MODES:
        for user, header in ((PEERS.alice, "Authorization"), (PEERS.bob, "X-API-Key")):
            work = fixture_as_directly(mode, user, header)
            await check(f"{mode}, fixture, {user.name}: told as directly, by {header}", work)
            work = everything_as_directly(mode, user, header)
            await check(f"{mode}, server-everything, {user.name}: told as directly, by {header}", work)
    await check("two users at once get their own", at_once())
    await check("the default server is served at /sse too", default_server())


asyncio.run(main())
