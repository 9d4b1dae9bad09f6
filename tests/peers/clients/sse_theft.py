"""What user B gets with the message path that user A was given over HTTP+SSE. Plain HTTP, nothing hidden."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from say import bearer, check, peers, same

PEERS = peers()
# A child process has no session id of its own that could be seen or stolen.
STARTED = getattr(PEERS, "started", False)


class Stream:
    """An open HTTP+SSE stream: where its messages go, and what came on it."""

    def __init__(self, http: httpx2.AsyncClient, url: str, headers: dict) -> None:
        self._http, self._url, self.headers = http, url, headers
        self.path, self.events = "", []
        self._ready = asyncio.Event()

    async def _read(self) -> None:
        async with self._http.stream("GET", self._url, headers={**self.headers, "Accept": "text/event-stream"}) as answer:
            same(answer.status_code, 200, "GET")
            event = ""
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    event = line[6:].strip()
                elif line.startswith("data:") and event == "endpoint":
                    self.path = line[5:].strip()
                    self._ready.set()
                elif line.startswith("data:"):
                    self.events.append(json.loads(line[5:]))

    async def __aenter__(self) -> Stream:
        self._reading = asyncio.create_task(self._read())
        ready = asyncio.create_task(self._ready.wait())
        done, _ = await asyncio.wait((self._reading, ready), timeout=15, return_when=asyncio.FIRST_COMPLETED)
        assert done, "no endpoint event within 15 s"
        if self._reading in done:
            self._reading.result()
        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "theft", "version": "1"}}
        same((await self.post("initialize", params, number=1)).status_code, 202, "initialize")
        await self.answer(1)
        await self.post("notifications/initialized")
        return self

    async def __aexit__(self, *_) -> None:
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self._reading

    @property
    def message_url(self) -> str:
        return urljoin(self._url, self.path)

    async def post(self, method: str, params: dict | None = None, number: int | None = None, url=None, headers=None):
        body = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
        if number is not None:
            body["id"] = number
        given = self.headers if headers is None else headers
        return await self._http.post(url or self.message_url, json=body, headers=given)

    async def answer(self, number: int) -> dict:
        async with asyncio.timeout(15):
            while True:
                for one in self.events:
                    if one.get("id") == number:
                        return one
                await asyncio.sleep(0.01)

    async def call(self, tool: str, number: int) -> str:
        accepted = await self.post("tools/call", {"name": tool, "arguments": {}}, number)
        same(accepted.status_code, 202, tool)
        return (await self.answer(number))["result"]["content"][0]["text"]


def proxied(http, user) -> Stream:
    return Stream(http, PEERS.sse.proxied, bearer(user))


WHOAMI = {"name": "whoami", "arguments": {}}


async def leak_is_real() -> None:
    """Directly, this backend takes B's message for A's session: otherwise the checks below would say nothing."""
    async with httpx2.AsyncClient(timeout=15) as http:
        async with Stream(http, PEERS.sse.direct, {"Authorization": f"Bearer {PEERS.alice.token}"}) as alice:
            stranger = {"Authorization": f"Bearer {PEERS.bob.token}"}
            same((await alice.post("tools/call", WHOAMI, 66, headers=stranger)).status_code, 202, "B's message")
            told = (await alice.answer(66))["result"]["content"][0]["text"]
            same(told, PEERS.bob.fingerprint, "what A hears of B")


async def path_says_nothing() -> None:
    """It is the proxy's own, and holds the backend's session id in no spelling."""
    async with httpx2.AsyncClient(timeout=15) as http, proxied(http, PEERS.alice) as alice:
        target, origin = urlsplit(alice.message_url), urlsplit(PEERS.sse.proxied)
        same((target.scheme, target.netloc), (origin.scheme, origin.netloc), "origin")
        same(target.path, origin.path.removesuffix("/sse") + "/message", "path")
        backend = json.loads(await alice.call("seen_headers", 7))["(path)"]
        same(backend.split("?")[0], "/messages/", "the backend's own path")
        (hidden,) = parse_qs(urlsplit(backend).query)["session_id"]
        assert len(hidden) == 32, backend
        (sealed,) = parse_qs(target.query)["session_id"]
        raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        for spelling in (hidden.encode(), hidden.upper().encode(), bytes.fromhex(hidden)):
            assert spelling not in alice.path.encode() and spelling not in raw, "the path holds the backend's session id"


async def stolen_path() -> None:
    async with httpx2.AsyncClient(timeout=15) as http:
        async with proxied(http, PEERS.alice) as alice, proxied(http, PEERS.bob) as bob:
            for headers in (bearer(PEERS.bob), {"X-API-Key": PEERS.bob.key}):
                stolen = await alice.post("tools/call", WHOAMI, 66, headers=headers)
                same(stolen.status_code, 404, "B's key on A's path")
            same(await bob.call("whoami", 8), PEERS.bob.fingerprint, "B on his own")
            same(await alice.call("whoami", 9), PEERS.alice.fingerprint, "A on her own")
            for stream in (alice, bob):
                assert all(one.get("id") != 66 for one in stream.events), "an answer to the stolen path"
            same([one["id"] for one in bob.events], [1, 8], "what came on B's stream")
            same([one["id"] for one in alice.events], [1, 9], "what came on A's stream")


async def no_key() -> None:
    async with httpx2.AsyncClient(timeout=15) as http, proxied(http, PEERS.alice) as alice:
        wrong = {"Authorization": f"Bearer {PEERS.wrong_key}"}
        backends = {"Authorization": f"Bearer {PEERS.alice.token}"}
        for what, headers in (("no key", {}), ("a revoked key", wrong), ("the backend's token", backends)):
            same((await alice.post("tools/call", WHOAMI, 66, headers=headers)).status_code, 401, f"POST with {what}")
            same((await http.get(PEERS.sse.proxied, headers=headers)).status_code, 401, f"GET with {what}")
        same(await alice.call("whoami", 9), PEERS.alice.fingerprint, "A herself")
        same([one["id"] for one in alice.events], [1, 9], "what came on her stream")


async def other_server() -> None:
    async with httpx2.AsyncClient(timeout=15) as http, proxied(http, PEERS.alice) as alice:
        query = urlsplit(alice.message_url).query
        url = PEERS.everything.proxied.removesuffix("/sse") + "/message?" + query
        same((await alice.post("tools/call", WHOAMI, 66, url=url)).status_code, 404)


async def made_up_path() -> None:
    async with httpx2.AsyncClient(timeout=15) as http, proxied(http, PEERS.alice) as alice:
        base, _, sealed = alice.message_url.partition("?session_id=")
        assert sealed, alice.path
        changed = ("A" if sealed[0] != "A" else "B") + sealed[1:]
        tries = [changed, sealed[:-4], sealed + "AAAA", "x"]
        if not STARTED:
            tries += parse_qs(urlsplit(json.loads(await alice.call("seen_headers", 7))["(path)"]).query)["session_id"]
        for made_up in tries:
            url = f"{base}?session_id={made_up}"
            same((await alice.post("tools/call", WHOAMI, 66, url=url)).status_code, 404, f"session_id={made_up!r}")
        bare = (await alice.post("tools/call", WHOAMI, 66, url=base)).status_code
        assert bare in (400, 404), f"without a session id: {bare}"
        same(await alice.call("whoami", 9), PEERS.alice.fingerprint, "A herself")


async def ended() -> None:
    async with httpx2.AsyncClient(timeout=15) as http:
        async with proxied(http, PEERS.alice) as alice:
            same(await alice.call("whoami", 9), PEERS.alice.fingerprint, "before the end")
        for _ in range(20):
            after = (await alice.post("tools/call", WHOAMI, 10)).status_code
            if after == 404:
                return
            await asyncio.sleep(0.1)
        same(after, 404, "two seconds after the stream ended")


async def main() -> None:
    await check("the backend by itself would let B into A's session", leak_is_real())
    if not STARTED:
        await check("the message path does not show the backend's session id", path_says_nothing())
    await check("A's message path used by B: 404, and both go on", stolen_path())
    await check("no key, a revoked one, the backend's token: 401", no_key())
    await check("a message path of another server: 404", other_server())
    await check("a made-up message path: 404", made_up_path())
    await check("a message path after its stream ended: 404", ended())


if __name__ == "__main__":
    asyncio.run(main())
