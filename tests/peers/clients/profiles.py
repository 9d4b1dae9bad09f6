"""A user's two profiles with the official Python SDK: each call carries the secret of its own."""

from __future__ import annotations

import asyncio

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from say import bearer, check, peers, said, same
from sse_theft import WHOAMI, Stream

PEERS = peers()
HOME, WORK = PEERS.home, PEERS.work
MODES = ("auto", "legacy")
# By who holds the key, then by the profile in the path: whose secret is used.
USED = {
    "a key without a profile": (HOME, {"": HOME, "/@default": HOME, "/@work": WORK}),
    "a key of the profile work": (WORK, {"": WORK, "/@default": HOME, "/@work": WORK}),
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "profiles", "version": "1"},
}


def mcp(profile: str) -> str:
    return f"{PEERS.origin}/fixture{profile}/mcp"


def client(key, profile: str, mode: str) -> Client:
    http = httpx2.AsyncClient(headers=bearer(key), timeout=30)
    return Client(streamable_http_client(mcp(profile), http_client=http), mode=mode)


async def chosen(key, by_path: dict, mode: str) -> None:
    for profile, expected in by_path.items():
        async with client(key, profile, mode) as ready:
            same(said(await ready.call_tool("whoami")), expected.fingerprint, profile or "no profile in the path")


async def at_once(mode: str) -> None:
    async with client(HOME, "", mode) as home, client(HOME, "/@work", mode) as work:
        told = await asyncio.gather(*(one.call_tool("whoami") for one in (home, work) * 10))
    same([said(one) for one in told], [HOME.fingerprint, WORK.fingerprint] * 10)


async def stream(key, by_path: dict) -> None:
    for profile, expected in by_path.items():
        url = f"{PEERS.origin}/stream{profile}/sse"
        async with Client(sse_client(url, headers=bearer(key)), mode="legacy") as ready:
            same(said(await ready.call_tool("whoami")), expected.fingerprint, profile or "no profile in the path")


async def post(http, url: str, method: str, params: dict, session: str | None = None):
    headers = {"Accept": "application/json, text/event-stream", **({"Mcp-Session-Id": session} if session else {})}
    return await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers=headers)


async def unknown() -> None:
    """One nobody has, another user's, and what is no name: all the same 404, for a real client too."""
    async with httpx2.AsyncClient(headers=bearer(HOME)) as http:
        same((await post(http, mcp("/@work"), "initialize", INITIALIZE)).status_code, 200, "a profile of hers")
        told = []
        for name in ("play", "hers"):
            answer = await post(http, mcp(f"/@{name}"), "initialize", INITIALIZE)
            same(answer.status_code, 404, name)
            told.append(answer.text.replace(name, "NAME"))
        same(told[0], told[1], "what is said of another user's profile")
        for name in ("", "wo rk", "@work", "work/@work"):
            same((await post(http, mcp(f"/@{name}"), "initialize", INITIALIZE)).status_code, 404, repr(name))
    try:
        async with client(HOME, "/@play", "legacy") as ready:
            raise AssertionError(f"connected: {ready.protocol_version}")
    except* AssertionError:
        raise
    except* Exception:
        pass


async def foreign_session() -> None:
    """A session belongs to the profile it was begun in, whichever key or path asks for it."""
    async with httpx2.AsyncClient(headers=bearer(HOME)) as http:
        begun = await post(http, mcp("/@work"), "initialize", INITIALIZE)
        session = begun.headers["mcp-session-id"]
        call = {"name": "whoami", "arguments": {}}
        for profile in ("", "/@default"):
            same((await post(http, mcp(profile), "tools/call", call, session)).status_code, 404, profile or "no profile")
        assert WORK.fingerprint in (await post(http, mcp("/@work"), "tools/call", call, session)).text
        http.headers.update(bearer(WORK))
        assert WORK.fingerprint in (await post(http, mcp(""), "tools/call", call, session)).text


async def foreign_path() -> None:
    """As a session, so the path that messages of a stream are posted to."""
    async with httpx2.AsyncClient() as http, Stream(http, f"{PEERS.origin}/stream/@work/sse", bearer(HOME)) as work:
        sealed = work.message_url.partition("?")[2]
        for profile in ("", "/@default"):
            url = f"{PEERS.origin}/stream{profile}/message?{sealed}"
            same((await work.post("tools/call", WHOAMI, 66, url=url)).status_code, 404, profile or "no profile")
        same(await work.call("whoami", 9), WORK.fingerprint, "in its own profile")
        same([one["id"] for one in work.events], [1, 9], "what came on the stream")


async def main() -> None:
    for mode in MODES:
        for who, (key, by_path) in USED.items():
            await check(f"{mode}, {who}: the path's profile, else the key's", chosen(key, by_path, mode))
        await check(f"{mode}: two profiles at once get their own", at_once(mode))
    for who, (key, by_path) in USED.items():
        await check(f"SSE, {who}: the path's profile, else the key's", stream(key, by_path))
    await check("an unknown profile: 404", unknown())
    await check("a session in another profile: 404", foreign_session())
    await check("a message path in another profile: 404", foreign_path())


asyncio.run(main())
