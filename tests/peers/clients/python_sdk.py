"""The official Python SDK as a client, in its three modes, for two users at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged

from say import bearer, check, peers, said, same

PEERS = peers()
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}


@contextlib.asynccontextmanager
async def client(user, mode: str, headers: dict | None = None, **more):
    async with httpx2.AsyncClient(headers={**bearer(user), **(headers or {})}, timeout=30) as http:
        async with Client(streamable_http_client(PEERS.url, http_client=http), mode=mode, **more) as ready:
            yield ready


async def basics(mode: str) -> None:
    async with client(PEERS.alice, mode) as alice:
        same(alice.protocol_version, MODES[mode], "revision")
        names = [tool.name for tool in (await alice.list_tools()).tools]
        assert len(names) > 30 and "whoami" in names, f"tools/list: {names}"
        read = await alice.read_resource("test://static-text")
        same(read.contents[0].text, "This is the content of the static text resource.")
        prompt = await alice.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        same(prompt.messages[0].content.text, "Prompt with arguments: arg1='a', arg2='b'")
        found = await alice.complete(
            types.PromptReference(name="test_prompt_with_arguments"), {"name": "arg1", "value": "par"}
        )
        same(found.completion.values, ["paris", "park", "party"])


async def own_secret(mode: str) -> None:
    async with client(PEERS.alice, mode) as alice, client(PEERS.bob, mode) as bob:
        for _ in range(10):
            calls = [alice.call_tool("whoami"), bob.call_tool("whoami")]
            first, second = await asyncio.gather(*calls)
            same(said(first), PEERS.alice.fingerprint, "alice's fingerprint")
            same(said(second), PEERS.bob.fingerprint, "bob's fingerprint")


async def nothing_else_sent(mode: str) -> None:
    """What the backend sees of a client's request: the design's list, and the slot."""
    extra = {
        "Cookie": "a=b",
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "X-Unasked": "1",
        "Proxy-Authorization": "Basic eDp5",
    }
    allowed = ("accept", "content-type", "mcp-", "last-event-id", "traceparent", "tracestate", "user-agent")
    own = ("(path)", "host", "authorization", "content-length", "transfer-encoding", "connection", "accept-encoding")
    async with client(PEERS.alice, mode, extra) as alice:
        text = said(await alice.call_tool("seen_headers"))
    seen = json.loads(text)
    strangers = [name for name in seen if not name.startswith(allowed) and name not in own]
    assert not strangers, f"the backend saw {strangers}"
    assert PEERS.alice.key not in text, "the backend saw the client's key"
    same(seen["(path)"], "/mcp", "path")
    same(seen["host"], PEERS.backend_host, "host")


async def other_header(mode: str) -> None:
    """The key may come in X-API-Key instead; it does not reach the backend either."""
    async with httpx2.AsyncClient(headers={"X-API-Key": PEERS.bob.key}, timeout=30) as http:
        async with Client(streamable_http_client(PEERS.url, http_client=http), mode=mode) as bob:
            same(said(await bob.call_tool("whoami")), PEERS.bob.fingerprint)
            text = said(await bob.call_tool("seen_headers"))
            assert PEERS.bob.key not in text and "x-api-key" not in text, f"the backend saw {text}"


async def streamed(mode: str) -> None:
    """Progress arrives while it is made, not with the answer."""
    arrived: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        arrived.append(time.monotonic())

    async with client(PEERS.alice, mode) as alice:
        started = time.monotonic()
        await alice.call_tool("count", {"steps": 5, "pause_ms": 500}, progress_callback=progress)
        ended = time.monotonic()
    same(len(arrived), 5, "notifications")
    first, last = arrived[0], arrived[-1]
    assert first - started < 1.5, f"the first came after {first - started:.2f} s"
    assert last - first > 0.6, f"all came within {last - first:.2f} s"
    assert ended - last > 0.1, f"the last came {ended - last:.2f} s before the answer"


async def asked(mode: str) -> None:
    """The server's questions reach the client, and its answers the server."""

    async def elicit(context, params):
        return types.ElicitResult(action="accept", content={"username": params.message, "email": "a@example.com"})

    async def sample(context, params):
        spoken = params.messages[0].content.text[::-1]
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text=spoken), model="test"
        )

    async def roots(context):
        return types.ListRootsResult(roots=[types.Root(uri="file:///home/alice")])

    handlers = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    async with client(PEERS.alice, mode, **handlers) as alice:
        await alice.list_tools()
        text = said(await alice.call_tool("test_elicitation", {"message": "who"}))
        assert "accept" in text and '"username": "who"' in text, text
        same(said(await alice.call_tool("test_sampling", {"prompt": "stressed"})), "LLM response: desserts")
        # In the session era this question travels on the GET stream: it must be open first.
        await asyncio.sleep(2)
        same(said(await alice.call_tool("ask_for_roots")), "roots: file:///home/alice")


async def announced_on_get_stream() -> None:
    """A notification of the session's own stream arrives, and only with its owner."""
    heard: dict[str, list] = {"alice": [], "bob": []}

    def listener(name: str):
        async def hear(message) -> None:
            heard[name].append(message)

        return hear

    async with (
        client(PEERS.alice, "legacy", message_handler=listener("alice")) as alice,
        client(PEERS.bob, "legacy", message_handler=listener("bob")) as bob,
    ):
        # Before the GET stream is open it is told to nobody.
        for name, own in (("alice", alice), ("bob", bob)):
            while not heard[name]:
                await own.call_tool("announce")
                await asyncio.sleep(0.2)
        await asyncio.sleep(0.5)
        for messages in heard.values():
            messages.clear()
        await alice.call_tool("announce")
        await asyncio.sleep(1)
    same([type(one).__name__ for one in heard["alice"]], ["ResourceUpdatedNotification"], "alice heard")
    same(heard["bob"], [], "bob heard")


async def listened() -> None:
    async with client(PEERS.alice, "2026-07-28") as alice:
        async with alice.listen(tools_list_changed=True) as subscription:
            await alice.call_tool("test_trigger_tool_change")
            async for event in subscription:
                assert isinstance(event, ToolsListChanged), event
                break


async def resumed() -> None:
    """The server cuts the stream of the answer; the client comes back for it by itself."""
    async with client(PEERS.alice, "legacy") as alice:
        text = said(await alice.call_tool("test_reconnection", {"label": "resumed"}))
    assert "label=resumed" in text, text


async def refused(mode: str, key: str) -> None:
    class Stranger:
        pass

    stranger = Stranger()
    stranger.key = key
    statuses: list[int] = []

    async def note(response) -> None:
        statuses.append(response.status_code)

    try:
        async with httpx2.AsyncClient(headers=bearer(stranger), event_hooks={"response": [note]}) as http:
            async with Client(streamable_http_client(PEERS.url, http_client=http), mode=mode) as ready:
                await ready.list_tools()
    except Exception:
        assert statuses and set(statuses) == {401}, f"statuses {statuses}"
    else:
        raise AssertionError("the client was let in")


async def main() -> None:
    for mode in MODES:
        await check(f"{mode}: connects, lists, reads, prompts, completes", basics(mode))
        await check(f"{mode}: each user's call carries their own secret", own_secret(mode))
        # A server without a host is a child process, and no header reaches it.
        if hasattr(PEERS, "backend_host"):
            await check(f"{mode}: nothing else of the client's reaches the server", nothing_else_sent(mode))
            await check(f"{mode}: a key in X-API-Key does as well", other_header(mode))
        await check(f"{mode}: progress arrives as it is made", streamed(mode))
        await check(f"{mode}: the server's questions are answered", asked(mode))
        await check(f"{mode}: a key of nobody is refused with 401", refused(mode, PEERS.wrong_key))
        await check(f"{mode}: what is no key is refused with 401", refused(mode, "not-a-key"))
    await check("legacy: a notification on the GET stream arrives with its owner only", announced_on_get_stream())
    await check("legacy: an answer cut off is resumed", resumed())
    await check("2026-07-28: subscriptions/listen hears a change", listened())


asyncio.run(main())
