"""`cloakroom connect`: the server, and the proxy, are killed and started again while a client goes on."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from say import check, peers, said, same

PEERS = peers()


class Party:
    """A process that is killed and started again; reached on the same port."""

    def __init__(self, party) -> None:
        self._command, self._port = party.command, party.port

    async def start(self) -> Party:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return self

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.asynccontextmanager
async def parties():
    server, proxy = Party(PEERS.server), Party(PEERS.proxy)
    try:
        yield await server.start(), await proxy.start()
    finally:
        server.kill(), proxy.kill()


@contextlib.asynccontextmanager
async def client(url: str, mode: str, **more):
    command = StdioServerParameters(
        command=PEERS.binary, args=["connect", url], env={"CLOAKROOM_KEY": PEERS.alice.key}
    )
    async with Client(stdio_client(command), mode=mode, **more) as ready:
        yield ready


async def identity(alice) -> None:
    same(said(await alice.call_tool("whoami")), PEERS.alice.fingerprint)


async def restarted(url: str, mode: str, which: int) -> None:
    """Between two calls; the second does not wait for it."""
    async with parties() as both, client(url, mode) as alice:
        await identity(alice)
        both[which].kill()
        waiting = asyncio.create_task(identity(alice))
        await asyncio.sleep(0.5)
        await both[which].start()
        if which == 1:
            await waiting
        else:
            # The proxy is there, and says that the server is not.
            with contextlib.suppress(Exception):
                await waiting
        for _ in range(3):
            await identity(alice)


async def heard_again() -> None:
    """What the server says on its own arrives in the new session too, without a word from the client."""
    heard: list[str] = []

    async def hear(message) -> None:
        heard.append(type(message).__name__)

    async with parties() as (server, _), client(PEERS.url, "legacy", message_handler=hear) as alice:
        server.kill()
        await server.start()
        await identity(alice)
        while not heard:
            await alice.call_tool("announce")
            await asyncio.sleep(0.2)
    same(set(heard), {"ResourceUpdatedNotification"})


async def interrupted(which: int) -> None:
    """A call under way: the server goes on without the proxy, and the answer is asked for when that is back."""
    async with parties() as both, client(PEERS.url, "legacy") as alice:
        reported = asyncio.Event()

        async def progress(*_) -> None:
            reported.set()

        arguments = {"steps": 10, "pause_ms": 200}
        call = asyncio.create_task(alice.call_tool("count", arguments, progress_callback=progress))
        await reported.wait()
        both[which].kill()
        await both[which].start()
        if which == 1:
            same(said(await call), "counted to 10")
        else:
            try:
                await call
            except Exception as error:
                assert "not known" in str(error), error
            else:
                raise AssertionError("it was answered")
        await identity(alice)


async def main() -> None:
    for mode in ("legacy", "2026-07-28"):
        await check(f"{mode}: the server starts anew", restarted(PEERS.url, mode, 0))
        await check(f"{mode}: the proxy starts anew", restarted(PEERS.url, mode, 1))
    await check("legacy, SSE: the server starts anew", restarted(PEERS.sse_url, "legacy", 0))
    await check("legacy, SSE: the proxy starts anew", restarted(PEERS.sse_url, "legacy", 1))
    await check("what the new server says on its own arrives", heard_again())
    await check("a call under way is answered after the proxy started anew", interrupted(1))
    await check("a call under way is not made again by a new server", interrupted(0))


asyncio.run(main())
