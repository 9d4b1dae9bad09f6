"""A server that keeps every request as it came: its headers, and the bytes of its body."""

from __future__ import annotations

import collections
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .generate import LIMITED_TOOL, SLOT, TOOLS


@dataclass(frozen=True)
class Seen:
    """One request."""

    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def framed(self) -> bool:
        """Whether it said its length, once, and that it is JSON."""
        said = self.all("content-length") == [str(len(self.body))] and not self.all("transfer-encoding")
        return said and self.all("content-type") == ["application/json"]


def _tools() -> dict:
    """The slot's argument is marked for a header; the proxy learns it here."""
    text = {"type": "string"}
    schema = {"type": "object", "properties": {SLOT: {**text, "x-mcp-header": "Token"}}, "required": [SLOT]}
    names = {LIMITED_TOOL, *TOOLS}
    return {
        "tools": [{"name": name, "inputSchema": schema} for name in sorted(names)],
        "ttlMs": 0,
        "cacheScope": "private",
    }


def _answer(message) -> dict | None:
    if not isinstance(message, dict) or "method" not in message or "id" not in message:
        return None
    result = _tools() if message["method"] == "tools/list" else {"content": []}
    return {"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", **result}}


class Recorder:
    """Listens on a port of its own until stopped."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Seen]] = collections.defaultdict(list)
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body of an answer are two writes: waiting for the first one's receipt costs 40 ms.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen = Seen(self.headers.items(), body)
                recorder._seen[self.headers.get("User-Agent", "")].append(seen)
                message = json.loads(body)
                answers = [_answer(one) for one in (message if isinstance(message, list) else [message])]
                owed = [one for one in answers if one is not None]
                text = json.dumps(owed if isinstance(message, list) else owed[0]).encode() if owed else b""
                self.send_response(200 if owed else 202)
                if owed:
                    self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/mcp"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def seen(self, agent: str) -> list[Seen]:
        """What came from this client, without the list the proxy asks for itself on its behalf; the cases
        never say they ask for one."""
        return [one for one in self._seen.get(agent, []) if one.all("mcp-method") != ["tools/list"]]

    def has_header_with(self, text: str) -> bool:
        return any(text in value for seen in self._seen.values() for one in seen for _, value in one.headers)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
