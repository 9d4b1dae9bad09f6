"""server-everything as a child process: what it asks, reports and announces, how it sleeps, who may have what."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from pathlib import Path

import httpx2
import inspector
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from say import bearer, check, peers, said, same
from walk import OFFICIAL

PEERS = peers()
VERSION = "2025-11-25"
WATCHED = "demo://resource/dynamic/text/1"
LONG = "trigger-long-running-operation"


@contextlib.asynccontextmanager
async def connect(transport: str, mode: str, **more):
    if transport == "sse":
        async with Client(sse_client(PEERS.everything.proxied, headers=bearer(PEERS.alice)), mode=mode, **more) as client:
            yield client
    else:
        async with httpx2.AsyncClient(headers=bearer(PEERS.alice), timeout=30) as http:
            async with Client(streamable_http_client(PEERS.other_url, http_client=http), mode=mode, **more) as client:
                yield client


async def asks_and_reports(transport: str, mode: str) -> None:
    """It knows no revision without sessions: who asks for one falls back."""
    steps: list[float] = []

    async def hear(done: float, *_) -> None:
        steps.append(done)

    async with connect(transport, mode, **OFFICIAL) as client:
        same(client.protocol_version, VERSION, "revision")
        await client.call_tool(LONG, {"duration": 0.6, "steps": 3}, progress_callback=hear)
        assert steps[:2] == [1, 2], f"progress: {steps}"
        # The tools that ask are there when the server has been told that the client can answer.
        while "get-roots-list" not in [tool.name for tool in (await client.list_tools()).tools]:
            await asyncio.sleep(0.1)
        sampled = said(await client.call_tool("trigger-sampling-request", {"prompt": "stressed", "maxTokens": 10}))
        assert "desserts" in sampled, sampled
        elicited = said(await client.call_tool("trigger-elicitation-request", {}))
        assert "provided" in elicited, elicited
        listed = said(await client.call_tool("get-roots-list", {}))
        assert "file:///home/alice" in listed, listed


async def announces(transport: str) -> None:
    """Log messages and updates of a resource come by themselves, after the calls that ordered them."""
    logged, updated = asyncio.Event(), asyncio.Event()

    async def log(_) -> None:
        logged.set()

    async def hear(message) -> None:
        if type(message).__name__ == "ResourceUpdatedNotification" and str(message.params.uri) == WATCHED:
            updated.set()

    async with connect(transport, "legacy", logging_callback=log, message_handler=hear) as client:
        await client.set_logging_level("debug")
        await client.subscribe_resource(WATCHED)
        await client.call_tool("toggle-subscriber-updates", {})
        await client.call_tool("toggle-simulated-logging", {})
        await asyncio.wait_for(asyncio.gather(logged.wait(), updated.wait()), 15)


class Session:
    """A session of the 2025-11-25 revision, by hand."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http, self._url, self.id = http, url, ""

    def headers(self, user) -> dict[str, str]:
        own = {"Mcp-Session-Id": self.id, "MCP-Protocol-Version": VERSION} if self.id else {}
        return {**bearer(user), **own, "Accept": "application/json, text/event-stream"}

    async def post(self, method: str, params: dict | None = None, number: int | None = 1, user=PEERS.alice):
        body = {"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params})
        body |= {} if number is None else {"id": number}
        return await self._http.post(self._url, json=body, headers=self.headers(user))

    async def start(self) -> Session:
        who = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "peer", "version": "1"}}
        answer = await self.post("initialize", who)
        same(answer.status_code, 200, "initialize")
        self.id = answer.headers["mcp-session-id"]
        await self.post("notifications/initialized", number=None)
        return self

    async def events(self, method: str, wanted: str, **more) -> list[dict[str, str]]:
        """The events of a stream, up to the first with `wanted` in it; the stream is left then."""
        found, event = [], {}
        async with self._http.stream(method, self._url, **more) as answer:
            same(answer.status_code, 200, method)
            async for line in answer.aiter_lines():
                if line and not line.startswith(":"):
                    field, _, value = line.partition(":")
                    event[field] = value.removeprefix(" ")
                elif event:
                    found.append(event)
                    if wanted in event.get("data", ""):
                        return found
                    event = {}
        raise AssertionError(f"the stream ended before {wanted}: {found}")


def numbers(events: list[dict[str, str]]) -> list[int]:
    return [int(found.group(1)) for one in events if (found := re.search(r'"progress":(\d)', one.get("data", "")))]


async def resumed() -> None:
    """A stream that breaks is taken up behind the last event that came, by its owner alone."""
    call = {"name": LONG, "arguments": {"duration": 3, "steps": 6}, "_meta": {"progressToken": "t"}}
    body = {"jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": call}
    async with httpx2.AsyncClient(timeout=15) as http:
        session, other = await Session(http, PEERS.other_url).start(), await Session(http, PEERS.other_url).start()
        seen = await session.events("POST", '"progress":2', json=body, headers=session.headers(PEERS.alice))
        last = [event["id"] for event in seen if "id" in event][-1]
        again = {**session.headers(PEERS.alice), "Last-Event-ID": last}
        rest = await session.events("GET", '"result"', headers=again)
        same(numbers(seen) + numbers(rest), [1, 2, 3, 4, 5, 6], "steps before and behind the break")
        same(json.loads(rest[-1]["data"])["id"], "long", "the id of the answer")
        foreign = await http.get(PEERS.other_url, headers={**session.headers(PEERS.bob), "Last-Event-ID": last})
        assert foreign.status_code in (400, 404), f"bob got {foreign.status_code}"
        mixed = await http.get(PEERS.other_url, headers={**other.headers(PEERS.alice), "Last-Event-ID": last})
        same(mixed.status_code, 400, "in another session of alice's")


async def stolen() -> None:
    async with httpx2.AsyncClient(timeout=15) as http:
        session = await Session(http, PEERS.other_url).start()
        same((await session.post("tools/list", user=PEERS.bob)).status_code, 404, "POST")
        for method in ("GET", "DELETE"):
            answer = await http.request(method, PEERS.other_url, headers=session.headers(PEERS.bob))
            same(answer.status_code, 404, method)
        elsewhere = await http.request("DELETE", PEERS.url, headers=session.headers(PEERS.alice))
        same(elsewhere.status_code, 404, "at another server")
        same((await session.post("tools/list")).status_code, 200, "alice, after all that")


async def call(session: Session) -> None:
    answer = await session.post("tools/call", {"name": "get-env", "arguments": {}})
    same(answer.status_code, 200, "get-env")
    assert PEERS.alice.token in answer.text, "the secret is missing"


async def slept() -> None:
    """Its child stopped after two idle seconds, the session is found and the child is told what it knew."""
    async with httpx2.AsyncClient(timeout=15) as http:
        session = await Session(http, PEERS.sleepy).start()
        await call(session)
        before = children()
        assert before, "no child is running"
        deadline = asyncio.get_running_loop().time() + 10
        while children() & before:
            assert asyncio.get_running_loop().time() < deadline, "the child still runs"
            await asyncio.sleep(0.1)
        await call(session)
        assert children() - before, "nothing was started for it"


def children() -> set[str]:
    """The processes of the server that sleeps, by the variable only it is given."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"SLEEPY={PEERS.alice.token}".encode() in path.read_bytes().split(b"\0"):
                found.add(path.parent.name)
    return found


async def by_inspector() -> None:
    reach = [PEERS.other_url, "--transport", "http", "--header", f"Authorization: Bearer {PEERS.alice.key}"]
    words = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=heard"]
    found = inspector.inner(await inspector.answer(*reach, *words))
    same(found["content"][0]["text"], "Echo: heard")


async def main() -> None:
    for transport in ("http", "sse"):
        for mode in ("auto", "legacy"):
            await check(f"{transport}, {mode}: it asks and reports", asks_and_reports(transport, mode), 30)
        await check(f"{transport}: it announces by itself", announces(transport), 30)
    await check("a broken stream is taken up behind the last event, by its owner", resumed(), 30)
    await check("A's session id used by B: 404, and A goes on", stolen())
    await check("a session is found after its child slept", slept(), 30)
    await check("the inspector calls a tool", by_inspector(), 60)


asyncio.run(main())
