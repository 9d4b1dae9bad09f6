"""The fastmcp client over Streamable HTTP: what it is told through the proxy is what the server says."""

from __future__ import annotations

import asyncio

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import SSETransport, StreamableHttpTransport

from say import check, compare, peers, sides
from walk import STEPS, pinned, walk

PEERS = peers()
# By transport and mode; over SSE it does not ask for anything newer.
MODES = {
    "http": {"auto": "2026-07-28", "legacy": "2025-11-25"},
    "sse": {"auto": "2025-11-25", "legacy": "2025-11-25"},
}
TRANSPORTS = {"http": StreamableHttpTransport, "sse": SSETransport}


async def elicit(message, response_type, params, context) -> ElicitResult:
    return ElicitResult(action="accept", content={"username": message, "email": "a@example.com"})


async def sample(messages, params, context) -> str:
    return messages[0].content.text[::-1]


def walker(transport: str, mode: str):
    async def steps(side) -> dict:
        handlers = {"elicitation_handler": elicit, "sampling_handler": sample, "roots": ["file:///home/alice"]}
        reached = TRANSPORTS[transport](side.url, headers=side.headers)
        async with Client(reached, mode=mode, **handlers) as client:
            wait = 0.8 if transport == "http" and mode == "legacy" else 0
            return await walk(client, lambda name: getattr(client, f"{name}_mcp"), "progress_handler", wait)

    return steps


async def as_directly(transport: str, mode: str, user, header: str) -> None:
    server = getattr(PEERS, transport)
    told = await compare(walker(transport, mode), *sides(server.direct, server.proxied, user, header), STEPS)
    pinned(told, MODES[transport][mode], user.fingerprint)


async def bearer_option(mode: str) -> None:
    """`auth="KEY"`, as its own documentation has it; several calls at once."""
    server = PEERS.http
    async with (
        Client(server.proxied, auth=PEERS.alice.key, mode=mode) as alice,
        Client(server.proxied, auth=PEERS.bob.key, mode=mode) as bob,
    ):
        told = await asyncio.gather(*(client.call_tool("whoami") for client in (alice, bob) * 10))
    seen = [one.content[0].text for one in told]
    assert seen == [PEERS.alice.fingerprint, PEERS.bob.fingerprint] * 10, seen


async def refused(transport: str, mode: str, key: str) -> None:
    reached = TRANSPORTS[transport](getattr(PEERS, transport).proxied, headers={"Authorization": f"Bearer {key}"})
    try:
        async with Client(reached, mode=mode) as client:
            await client.list_tools()
    except Exception as error:
        assert "401" in str(error) or "revoked" in str(error), f"{type(error).__name__}: {error}"
    else:
        raise AssertionError("the client was let in")


async def main() -> None:
    for transport in TRANSPORTS:
        if not hasattr(PEERS, transport):
            continue
        for mode in MODES[transport]:
            for user, header in ((PEERS.alice, "Authorization"), (PEERS.bob, "X-API-Key")):
                work = as_directly(transport, mode, user, header)
                await check(f"{transport}, {mode}, {user.name}: told as directly, by {header}", work)
            if transport == "http":
                await check(f"{transport}, {mode}: auth= and twenty calls at once", bearer_option(mode))
            await check(f"{transport}, {mode}: a key of nobody is refused", refused(transport, mode, PEERS.wrong_key))


asyncio.run(main())
