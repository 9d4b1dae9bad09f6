"""A client of MCP over HTTP, as small as it can be."""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import socket
import threading
from dataclasses import dataclass, field

LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"


@dataclass
class Answer:
    status: int
    message: dict
    events: list[dict] = field(default_factory=list)

    @property
    def error(self) -> dict | None:
        return self.message.get("error")

    @property
    def said(self) -> dict:
        """What a tool said."""
        return json.loads(self.message["result"]["content"][0]["text"])


def events_of(lines):
    """The events of a stream: what they are called, and their data."""
    name, data = "message", []
    for line in lines:
        line = line.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data:"):
            data.append(line[5:].lstrip(" "))
        elif not line:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []


class Client:
    """One connection, kept alive."""

    def __init__(self, port: int, key: str, path: str, timeout: float = 40) -> None:
        self.path, self.key = path, key
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.session: str | None = None
        self.is_modern = False
        self.numbers = itertools.count()

    def headers(self, message: dict | None) -> dict:
        headers = {
            "Authorization": f"Bearer {self.key}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if self.session:
            headers |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": LEGACY}
        if self.is_modern and message:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
            if "name" in message.get("params", {}):
                headers["Mcp-Name"] = message["params"]["name"]
        return headers

    def send(self, message: dict, method: str = "POST") -> http.client.HTTPResponse:
        body = json.dumps({"jsonrpc": "2.0", **message}) if message else None
        try:
            self.connection.request(method, self.path, body, self.headers(message))
            return self.connection.getresponse()
        except BaseException:
            self.connection.close()
            raise

    def message(self, method: str, params: dict | None, number) -> dict:
        message: dict = {"id": number, "method": method}
        params = dict(params or {})
        if self.is_modern:
            meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": {}}
            params["_meta"] = meta | params.get("_meta", {})
        if params:
            message["params"] = params
        return message

    def ask(self, method: str, params: dict | None = None, number=None) -> Answer:
        number = next(self.numbers) if number is None else number
        response = self.send(self.message(method, params, number))
        if "event-stream" not in (response.headers["content-type"] or ""):
            body = response.read()
            try:
                return Answer(response.status, json.loads(body) if body else {})
            except ValueError:
                return Answer(response.status, {"error": {"code": None, "message": body.decode()}})
        events, last = [], None
        for _, data in events_of(response):
            if data:
                events.append(json.loads(data))
                if "method" not in events[-1]:
                    last = events.pop()
        response.read()
        return Answer(response.status, last or {}, events)

    def tell(self, method: str, params: dict | None = None) -> int:
        message = {"method": method} | ({"params": params} if params else {})
        response = self.send(message)
        response.read()
        return response.status

    def open(self) -> Answer:
        """Begins a session."""
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "children", "version": "1"}}
        response = self.send(self.message("initialize", params, next(self.numbers)))
        answer = Answer(response.status, json.loads(response.read() or b"{}"))
        self.session = response.headers["mcp-session-id"]
        if self.session:
            self.tell("notifications/initialized")
        return answer

    def call(self, number=None, meta: dict | None = None, **arguments) -> Answer:
        params: dict = {"name": "whoami", "arguments": arguments}
        if meta:
            params["_meta"] = meta
        return self.ask("tools/call", params, number)

    def delete(self) -> int:
        response = self.send({}, "DELETE")
        response.read()
        return response.status

    def abort(self, **arguments) -> None:
        """Hangs up in the middle of a call."""
        message = self.message("tools/call", {"name": "whoami", "arguments": arguments}, next(self.numbers))
        body = json.dumps({"jsonrpc": "2.0", **message})
        self.connection.request("POST", self.path, body, self.headers(message))
        self.connection.close()

    def stream(self, message: dict):
        """The events of one request on this connection, for as long as they come."""
        response = self.send(message)
        return response.status, (json.loads(data) for _, data in events_of(response) if data)

    def close(self) -> None:
        self.connection.close()


class OldClient:
    """A session of HTTP+SSE (MCP 2024-11-05): answers come on one stream, by their id."""

    def __init__(self, port: int, key: str, path: str) -> None:
        self.key = key
        self.stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.stream.request("GET", path, headers={"Authorization": f"Bearer {key}", "Accept": "text/event-stream"})
        self.response = self.stream.getresponse()
        if self.response.status != 200:
            raise RuntimeError(f"GET {path}: {self.response.status} {self.response.read()!r}")
        self.events = events_of(self.response)
        self.endpoint = next(self.events)[1]
        self.posts = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.numbers = itertools.count()
        self.messages: queue.Queue = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        try:
            for _, data in self.events:
                self.messages.put(json.loads(data))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.messages.put(None)

    def post(self, message: dict) -> int:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        self.posts.request("POST", self.endpoint, json.dumps({"jsonrpc": "2.0", **message}), headers)
        response = self.posts.getresponse()
        response.read()
        return response.status

    def ask(self, method: str, params: dict) -> Answer:
        number = next(self.numbers)
        status = self.post({"id": number, "method": method, "params": params})
        events: list[dict] = []
        while (message := self.messages.get(timeout=40)) is not None:
            if "method" in message:
                events.append(message)
            elif message.get("id") == number:
                return Answer(status, message, events)
            else:
                raise RuntimeError(f"an answer with id {message.get('id')} instead of {number}")
        return Answer(status, {"error": {"code": 0, "message": "the stream ended"}}, events)

    def open(self) -> Answer:
        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
        answer = self.ask("initialize", params)
        self.post({"method": "notifications/initialized"})
        return answer

    def call(self, **arguments) -> Answer:
        return self.ask("tools/call", {"name": "whoami", "arguments": arguments})

    def close(self) -> None:
        # The stream's reader holds the connection's file.
        try:
            (self.stream.sock or self.response.fp.raw._sock).shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass
        self.posts.close()
