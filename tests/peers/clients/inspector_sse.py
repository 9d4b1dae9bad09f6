"""The official inspector's command line over HTTP+SSE, at two servers."""

from __future__ import annotations

import asyncio
import json

from inspector import inspector
from say import check, peers, same, sides

PEERS = peers()


def words(side, *rest: str) -> list[str]:
    name, value = next(iter(side.headers.items()))
    return [side.url, "--transport", "sse", "--header", f"{name}: {value}", *rest]


async def answer(side, *rest: str) -> dict:
    done = await asyncio.to_thread(inspector, *words(side, *rest))
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}"
    found = json.loads(done.stdout)
    return found.get("result", found)


async def as_directly(server, user, header: str, *rest: str) -> dict:
    direct, proxied = sides(server.direct, server.proxied, user, header)
    wanted, got = await asyncio.gather(answer(direct, *rest), answer(proxied, *rest))
    same(got, wanted, "through the proxy")
    return got


async def lists(server, user, least: int) -> None:
    found = await as_directly(server, user, "Authorization", "--method", "tools/list")
    assert len(found["tools"]) >= least, found


async def calls(server, user, header: str, wanted: str, tool: str, *arguments: str) -> None:
    found = await as_directly(server, user, header, "--method", "tools/call", "--tool-name", tool, *arguments)
    same(found["content"][0]["text"], wanted)


async def refused() -> None:
    side = sides(PEERS.sse.direct, PEERS.sse.proxied, PEERS.alice)[1]
    side.headers = {"Authorization": f"Bearer {PEERS.wrong_key}"}
    done = await asyncio.to_thread(inspector, *words(side, "--stored-auth-only", "--method", "tools/list"))
    assert done.returncode != 0, "the inspector was let in"
    assert "401" in done.stderr + done.stdout or done.returncode == 3, f"exit {done.returncode}: {done.stderr.strip()}"


async def main() -> None:
    alice, bob = PEERS.alice, PEERS.bob
    await check("fixture: tools/list as directly", lists(PEERS.sse, alice, 30), 60)
    work = calls(PEERS.sse, alice, "Authorization", alice.fingerprint, "whoami")
    await check("fixture: whoami as directly, by Authorization", work, 60)
    work = calls(PEERS.sse, bob, "X-API-Key", bob.fingerprint, "whoami")
    await check("fixture: whoami as directly, by X-API-Key", work, 60)
    await check("server-everything: tools/list as directly", lists(PEERS.everything, alice, 10), 60)
    work = calls(PEERS.everything, bob, "X-API-Key", "Echo: hi", "echo", "--tool-arg", "message=hi")
    await check("server-everything: echo as directly, by X-API-Key", work, 60)
    await check("a key of nobody is refused", refused(), 60)


asyncio.run(main())
