"""What servers tell two users at once through the proxy, against what they tell one who started them by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from say import bearer, check, peers, said, same

PEERS = peers()
USERS = (PEERS.alice, PEERS.bob)
# What a child has besides its secrets; npm's own variables are of no use to a server.
GIVEN = {"PATH", "LANG", "HOME", "TMPDIR", "TOKEN"}


@contextlib.asynccontextmanager
async def connect(url: str, user):
    async with httpx2.AsyncClient(headers=bearer(user), timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            yield client


async def told(client: Client) -> dict:
    capabilities = client.server_capabilities.model_dump(exclude_none=True, by_alias=True)
    # The one thing the proxy takes away.
    capabilities.get("tasks", {}).pop("list", None)
    return {
        "revision": client.protocol_version,
        "server": client.server_info.model_dump(exclude_none=True),
        "capabilities": capabilities,
        "instructions": client.instructions,
        "tools": [tool.name for tool in (await client.list_tools()).tools],
    }


async def by_hand(server) -> dict:
    env = {name: value.replace("${TOKEN}", "by-hand") for name, value in vars(server.env).items()}
    program, *words = server.command
    with open("/dev/null", "w") as nowhere:
        async with Client(stdio_client(StdioServerParameters(command=program, args=words, env=env), nowhere), mode="legacy") as client:
            return await told(client)


async def through(server, user) -> dict:
    async with connect(server.url, user) as client:
        return await told(client)


async def as_by_hand(server) -> None:
    wanted, *got = await asyncio.gather(by_hand(server), *(through(server, user) for user in USERS))
    assert wanted["tools"], "no tools at all"
    for user, one in zip(USERS, got):
        for what in wanted:
            same(one[what], wanted[what], f"{what} for {user.name}")


async def environment(user) -> dict:
    async with connect(PEERS.everything, user) as client:
        return json.loads(said(await client.call_tool("get-env", {})))


async def own_secret() -> None:
    """The child has its user's secret, a home of their own, and nothing of the proxy's environment."""
    seen = await asyncio.gather(*(environment(user) for user in USERS))
    for user, env in zip(USERS, seen):
        same(env["TOKEN"], user.token, f"{user.name}'s secret")
        same(set(env) - GIVEN, set(), f"variables of {user.name}'s child besides its own")
    assert seen[0]["HOME"] != seen[1]["HOME"], f"both users live in {seen[0]['HOME']}"


async def main() -> None:
    for server in PEERS.servers:
        await check(f"{server.name}: two users at once are told as by hand", as_by_hand(server), 120)
    await check("each user's child has their own secret, and no other variable", own_secret(), 60)


asyncio.run(main())
