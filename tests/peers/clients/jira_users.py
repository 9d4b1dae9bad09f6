"""mcp-atlassian with a credential per user, in each way it takes one, and what its Jira says of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from types import SimpleNamespace

from say import bearer, check, compare, peers, said, same
from walk import told

PEERS = peers()
STEPS = 5
TOOLS = 60  # those for Jira; Confluence's need a Confluence


def basic(user) -> str:
    return "Basic " + base64.b64encode(f"{user.name}@example.com:{user.token}".encode()).decode()


# By slot: the headers that bring a user's credential directly, and what Jira must then get.
DIRECT = {
    "bearer": lambda user: {"Authorization": f"Bearer {user.token}"},
    "token": lambda user: {"Authorization": f"Token {user.token}"},
    "basic": lambda user: {"Authorization": basic(user)},
    "site": lambda user: {
        "X-Atlassian-Jira-Url": f"http://{user.name}.jira.example",
        "X-Atlassian-Jira-Personal-Token": user.token,
    },
}


def arrives(slot: str, user) -> str:
    """The name of the project that Jira has for who comes with this credential."""
    credential = basic(user) if slot == "basic" else f"Bearer {user.token}"
    host = f"{user.name}.jira.example" if slot == "site" else "127.0.0.1"
    return f"{host} {hashlib.sha256(credential.encode()).hexdigest()}"


@contextlib.asynccontextmanager
async def connect(url: str, headers: dict, mode: str):
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as ready:
            yield ready


def proxied(slot: str) -> str:
    return getattr(PEERS.proxied, slot)


def walker(mode: str):
    async def steps(side) -> dict:
        async with connect(side.url, side.headers, mode) as client:
            return {
                "revision": client.protocol_version,
                "server": told(client.server_info),
                "tools": told(await client.list_tools()),
                "projects": told(await client.call_tool("jira_get_all_projects", {})),
                "no such tool": told(await client.call_tool("nonesuch", {})),
            }

    return steps


async def as_directly(slot: str, user, mode: str) -> None:
    direct = SimpleNamespace(url=PEERS.direct, headers=DIRECT[slot](user))
    through = SimpleNamespace(url=proxied(slot), headers=bearer(user))
    seen = await compare(walker(mode), direct, through, STEPS)
    same(seen["revision"], "2025-11-25", "revision")
    assert len(seen["tools"]["tools"]) >= TOOLS, f"{len(seen['tools']['tools'])} tools"
    assert arrives(slot, user) in seen["projects"]["content"][0]["text"], seen["projects"]


async def at_once() -> None:
    alice, bob = PEERS.alice, PEERS.bob
    async with (
        connect(proxied("bearer"), bearer(alice), "legacy") as first,
        connect(proxied("bearer"), bearer(bob), "legacy") as second,
    ):
        calls = [client.call_tool("jira_get_all_projects", {}) for client in (first, second) * 10]
        seen = [said(one) for one in await asyncio.gather(*calls)]
    for number, text in enumerate(seen):
        assert arrives("bearer", (alice, bob)[number % 2]) in text, f"call {number}: {text}"


async def own_headers(slot: str) -> None:
    """Whatever credential or site the client names itself is not what is used."""
    mine = {"X-Atlassian-Jira-Url": "http://bob.jira.example", "X-Atlassian-Jira-Personal-Token": PEERS.bob.token}
    async with connect(proxied(slot), {**bearer(PEERS.alice), **mine}, "legacy") as client:
        text = said(await client.call_tool("jira_get_all_projects", {}))
    assert arrives(slot, PEERS.alice) in text, text


async def refused(headers: dict) -> None:
    """The operator's own token never stands in for a user who has none."""
    try:
        async with connect(proxied("bearer"), headers, "legacy") as client:
            text = said(await client.call_tool("jira_get_all_projects", {}))
    except Exception:
        return
    raise AssertionError(f"answered: {text}")


async def main() -> None:
    for slot in DIRECT:
        for user in (PEERS.alice, PEERS.bob):
            await check(f"{slot}, {user.name}: told as directly", as_directly(slot, user, "legacy"), 30)
    for user in (PEERS.alice, PEERS.bob):
        await check(f"bearer, {user.name}: told as directly, asking for 2026-07-28 first", as_directly("bearer", user, "auto"), 30)
    await check("two users at once get their own", at_once(), 30)
    for slot in ("bearer", "site"):
        await check(f"{slot}: a client cannot name a site or credential of its own", own_headers(slot), 30)
    await check("a user without the secret gets nothing", refused(bearer(PEERS.carol)), 30)
    await check("without a key there is nothing", refused({}), 30)


asyncio.run(main())
