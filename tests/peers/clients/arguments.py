"""A server that wants its secret as an argument of every tool (fixture/tools.py, `Token`), through the proxy.

Fails when `hides` in src/layer/rules.rs says no, when `merge` in src/layer/splice.rs keeps what the client
sent, or when `call` in src/layer/mirror.rs adds no header.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from say import bearer, check, peers, said, same

PEERS = peers()
MODES = ("legacy", "auto", "2026-07-28")
STATELESS = "2026-07-28"


@contextlib.asynccontextmanager
async def client(url: str, headers: dict, mode: str):
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as ready:
            yield ready


def proxied(user, mode: str):
    return client(PEERS.arguments.proxied, bearer(user), mode)


def direct(url: str, mode: str):
    return client(url, {"Authorization": f"Bearer {PEERS.direct_token}"}, mode)


async def tools(ready) -> dict[str, dict]:
    """Every tool as it is listed; an empty list of required properties says as much as none."""
    listed = [tool.model_dump(by_alias=True, mode="json") for tool in (await ready.list_tools()).tools]
    for tool in listed:
        if not tool["inputSchema"].get("required"):
            tool["inputSchema"].pop("required", None)
    return {tool["name"]: tool for tool in listed}


async def wanted(mode: str) -> None:
    """Directly, the server does want it: otherwise the checks below would say nothing."""
    own = {"cloak_token": PEERS.arguments.secret}
    async with direct(PEERS.arguments.direct, mode) as ready:
        listed = await tools(ready)
        assert all("cloak_token" in tool["inputSchema"]["required"] for tool in listed.values()), "not all want it"
        for name in ("greet", "whoami"):
            assert (await ready.call_tool(name, {"name": "Ada"})).is_error, f"{name} does without it"
            assert (await ready.call_tool(name, {"name": "Ada", "cloak_token": "guessed"})).is_error, (
                f"{name} takes any"
            )
            assert not (await ready.call_tool(name, {"name": "Ada", **own})).is_error, (
                f"{name} does not take the right one"
            )


async def header_wanted() -> None:
    """Directly, the server does want the header that its schema announces."""
    meta = {
        f"io.modelcontextprotocol/{key}": value
        for key, value in (("protocolVersion", STATELESS), ("clientCapabilities", {}))
    }
    params = {"name": "greet", "arguments": {"name": "Ada", "cloak_token": PEERS.arguments.secret}, "_meta": meta}
    headers = {
        "Authorization": f"Bearer {PEERS.direct_token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": STATELESS,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "greet",
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with httpx2.AsyncClient() as http:
        answer = await http.post(PEERS.arguments.direct, json=body, headers=headers)
    same((answer.status_code, answer.json()["error"]["code"]), (400, -32020))


async def hidden(mode: str) -> None:
    """The list is that of the same server without the argument."""
    async with proxied(PEERS.alice, mode) as through, direct(PEERS.direct_url, mode) as plain:
        text = json.dumps([tool.model_dump(by_alias=True, mode="json") for tool in (await through.list_tools()).tools])
        assert "cloak_token" not in text, "the list names the argument"
        seen, expected = await tools(through), await tools(plain)
        same(seen.keys(), expected.keys(), "tools")
        for name, tool in seen.items():
            same(tool, expected[name], name)


async def brought(mode: str) -> None:
    async with proxied(PEERS.alice, mode) as alice:
        for _ in range(2):
            same(said(await alice.call_tool("greet", {"name": "Ada"})), "Hello, Ada!")
            same(said(await alice.call_tool("whoami")), PEERS.alice.fingerprint)


async def replaced(mode: str) -> None:
    """The server refuses a second spelling of it, too (`Token.taken`)."""
    async with proxied(PEERS.alice, mode) as alice:
        for name in ("cloak_token", "Cloak_Token", "CLOAK_TO\u212aEN"):
            same(said(await alice.call_tool("greet", {"name": "Ada", name: "mine"})), "Hello, Ada!", name)


async def own_only(mode: str) -> None:
    """Bob's is another, which this server does not know, and Alice's calls beside his change nothing."""
    async with proxied(PEERS.alice, mode) as alice, proxied(PEERS.bob, mode) as bob:
        for _ in range(5):
            hers, his = await asyncio.gather(*(one.call_tool("greet", {"name": "Ada"}) for one in (alice, bob)))
            same(said(hers), "Hello, Ada!")
            assert his.is_error and "cloak_token" in said(his), said(his)


async def main() -> None:
    await check("the server by itself wants the header", header_wanted())
    for mode in MODES:
        await check(f"{mode}: the server by itself wants the argument", wanted(mode))
        await check(f"{mode}: no tool shows the argument", hidden(mode))
        await check(f"{mode}: calls bring it", brought(mode))
        await check(f"{mode}: the client's own is replaced", replaced(mode))
        await check(f"{mode}: each user brings their own", own_only(mode))


asyncio.run(main())
