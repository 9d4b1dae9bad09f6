"""What user B gets with what user A was given: session ids and event ids. Plain HTTP, nothing hidden."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx2

from say import bearer, check, peers, same

PEERS = peers()
BOTH = "application/json, text/event-stream"
VERSION = "2025-11-25"


class Session:
    """A session of the 2025-11-25 revision, by hand."""

    def __init__(self, http: httpx2.AsyncClient, url: str, headers: dict) -> None:
        self._http, self._url = http, url
        self.headers = {**headers, "Accept": BOTH, "MCP-Protocol-Version": VERSION}
        self.id = ""

    async def start(self) -> Session:
        params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "theft", "version": "1"}}
        answer = await self.post("initialize", params, session=None)
        same(answer.status_code, 200, "initialize")
        self.id = answer.headers["mcp-session-id"]
        await self.post("notifications/initialized", None, number=None)
        return self

    def _with(self, session: str | None) -> dict:
        given = self.id if session == "own" else session
        return {**self.headers, **({"Mcp-Session-Id": given} if given else {})}

    async def post(self, method: str, params: dict | None, session: str | None = "own", number: int | None = 1):
        body = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
        if number is not None:
            body["id"] = number
        return await self._http.post(self._url, json=body, headers=self._with(session))

    async def call(self, tool: str, arguments: dict, session: str | None = "own"):
        return await self.post("tools/call", {"name": tool, "arguments": arguments}, session, number=7)

    async def get(self, last_event_id: str | None = None, session: str | None = "own", seconds: float = 1.5):
        """Status and what came within the time on the stream."""
        headers = self._with(session) | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        text = ""
        async with self._http.stream("GET", self._url, headers=headers) as answer:
            with contextlib.suppress(TimeoutError, httpx2.ReadTimeout):
                async with asyncio.timeout(seconds):
                    async for piece in answer.aiter_text():
                        text += piece
            return answer.status_code, text

    async def delete(self, session: str | None = "own"):
        return await self._http.delete(self._url, headers=self._with(session))

    async def cut(self, label: str) -> str:
        """Call the tool that cuts its own stream; the id of the last event before the cut."""
        answer = await self.call("test_reconnection", {"label": label})
        ids = [line[3:].strip() for line in answer.text.splitlines() if line.startswith("id:")]
        assert ids and label not in answer.text, f"expected a cut stream with event ids: {answer.text!r}"
        await asyncio.sleep(0.5)
        return ids[-1]


def proxied(http, user, url=None) -> Session:
    return Session(http, url or PEERS.url, bearer(user))


async def leak_is_real() -> None:
    """Directly, this backend gives B what is A's: otherwise the checks below would say nothing."""
    async with httpx2.AsyncClient() as http:
        token = {"Authorization": f"Bearer {PEERS.direct_token}"}
        one = await Session(http, PEERS.direct_url, token).start()
        two = await Session(http, PEERS.direct_url, token).start()
        status, text = await two.get(await one.cut("CANARY"))
        same(status, 200)
        assert "CANARY" in text, f"the fixture no longer leaks: {text!r}"
        same((await two.call("whoami", {}, session=one.id)).status_code, 200, "a foreign session id")


async def foreign_event_id() -> None:
    async with httpx2.AsyncClient() as http:
        alice, bob = await proxied(http, PEERS.alice).start(), await proxied(http, PEERS.bob).start()
        event = await alice.cut("CANARY")
        status, text = await bob.get(event)
        same(status, 400)
        assert "CANARY" not in text, "bob got alice's answer"
        for guess in (str(number) for number in range(1, 400, 40)):
            status, text = await bob.get(guess)
            same(status, 400, f"a guessed event id {guess}")
            assert "CANARY" not in text, "bob got alice's answer by guessing"
        status, text = await alice.get(event)
        same(status, 200, "alice herself")
        assert "CANARY" in text, f"alice did not get her answer: {text!r}"


async def own_event_id_of_another_session() -> None:
    async with httpx2.AsyncClient() as http:
        first, second = await proxied(http, PEERS.alice).start(), await proxied(http, PEERS.alice).start()
        status, text = await second.get(await first.cut("CANARY"))
        same(status, 400)
        assert "CANARY" not in text, "one session got the answer of another"


async def changed_event_id() -> None:
    async with httpx2.AsyncClient() as http:
        alice = await proxied(http, PEERS.alice).start()
        event = await alice.cut("CANARY")
        for changed in (event[:-1] + ("0" if event[-1] != "0" else "1"), event + "0", "1", event[::-1]):
            same((await alice.get(changed))[0], 400, f"changed event id {changed!r}")


async def foreign_session_id() -> None:
    async with httpx2.AsyncClient() as http:
        alice, bob = await proxied(http, PEERS.alice).start(), await proxied(http, PEERS.bob).start()
        event = await alice.cut("CANARY")
        same((await bob.call("whoami", {}, session=alice.id)).status_code, 404, "POST")
        same((await bob.get(session=alice.id))[0], 404, "GET")
        status, text = await bob.get(event, session=alice.id)
        assert status in (400, 404) and "CANARY" not in text, f"GET with both ids: {status} {text!r}"
        same((await bob.delete(session=alice.id)).status_code, 404, "DELETE")
        answer = await alice.call("whoami", {})
        assert PEERS.alice.fingerprint in answer.text, "alice's session is gone"


async def session_of_another_server() -> None:
    async with httpx2.AsyncClient() as http:
        alice = await proxied(http, PEERS.alice).start()
        other = proxied(http, PEERS.alice, PEERS.other_url)
        same((await other.post("tools/list", {}, session=alice.id)).status_code, 404)


async def made_up_session() -> None:
    async with httpx2.AsyncClient() as http:
        alice = await proxied(http, PEERS.alice).start()
        for made_up in ("x", "0" * 32, alice.id[:-2] + ("AA" if not alice.id.endswith("AA") else "BB")):
            same((await alice.call("whoami", {}, session=made_up)).status_code, 404, f"session id {made_up!r}")


async def id_says_nothing() -> None:
    """Neither id holds the backend's own, which a thief could use past the proxy."""
    async with httpx2.AsyncClient() as http:
        alice = await proxied(http, PEERS.alice).start()
        seen = json.loads(json.loads((await alice.call("seen_headers", {})).text.split("data: ")[-1].split("\n")[0])[
            "result"
        ]["content"][0]["text"])
        assert seen["mcp-session-id"] not in alice.id, "the session id holds the backend's"


async def ended_session() -> None:
    async with httpx2.AsyncClient() as http:
        alice = await proxied(http, PEERS.alice).start()
        same((await alice.delete()).status_code // 100, 2, "DELETE")
        same((await alice.call("whoami", {})).status_code, 404, "after DELETE")


async def main() -> None:
    await check("the backend by itself would leak", leak_is_real())
    await check("A's event id in B's session: 400 and nothing of A's", foreign_event_id(), 40)
    await check("A's event id in another session of A: 400", own_event_id_of_another_session())
    await check("a changed event id: 400", changed_event_id())
    await check("A's session id used by B: 404, and A goes on", foreign_session_id())
    await check("a session id of another server: 404", session_of_another_server())
    await check("a made-up session id: 404", made_up_session())
    await check("a session id does not show the backend's", id_says_nothing())
    await check("an ended session: 404", ended_session())


asyncio.run(main())
