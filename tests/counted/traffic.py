"""What is sent while somebody counts: an origin that wants its secret, and a client, on one event loop."""

from __future__ import annotations

import asyncio
import json
import re
import secrets

SECRET = "sk-" + secrets.token_hex(16)
GONE = (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError)


def sized(text: str, size: int) -> bytes:
    """The text with so much in place of its @ that it is as long as that."""
    return text.replace("@", "x" * (size - len(text) + 1)).encode()


CALL = sized(
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_issue","arguments":{"text":"@"}}}', 350
)
ANSWER = sized('{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"@"}]}}', 300)
NEWS = sized('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"@"}}', 300)


class Origin:
    """Answers calls with ANSWER, or while `streams` with a stream that `give` and `end` make longer."""

    def __init__(self) -> None:
        self.streams = False
        self.events: asyncio.Queue[bytes] = asyncio.Queue()

    async def __aenter__(self) -> Origin:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)\r\ncontent-length: (\d+)\r\n", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                if not has_secret(head, body):
                    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                elif self.streams:
                    await self.stream(writer)
                else:
                    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    writer.write((head % len(ANSWER)).encode() + ANSWER)
        except GONE:
            pass
        finally:
            writer.close()

    async def stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while data := await self.events.get():
            event = b"data: %s\n\n" % data
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        writer.write(b"0\r\n\r\n")

    def give(self, data: bytes) -> None:
        self.events.put_nowait(data)

    def end(self) -> None:
        self.events.put_nowait(b"")


def has_secret(head: str, body: bytes) -> bool:
    if head.startswith("POST /header "):
        return re.search(rf"(?i)\r\nauthorization: bearer {SECRET}\r\n", head) is not None
    return json.loads(body)["params"]["arguments"].get("api_token") == SECRET


class Client:
    """One connection that stays."""

    def __init__(self, port: int, key: str, server: str) -> None:
        self.port = port
        head = (
            f"POST /{server}/mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: 2025-06-18\r\nContent-Length: {len(CALL)}\r\n\r\n"
        )
        self.request = head.encode() + CALL

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self) -> None:
        self.writer.write(self.request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"it answered {head.decode()}")


async def calls(client: Client, _: Origin, count: int) -> None:
    """Calls, each after the answer to the one before."""
    for _ in range(count):
        await client.ask()
        if await client.reader.readexactly(len(ANSWER)) != ANSWER:
            raise RuntimeError("it answered something else")


async def events(client: Client, origin: Origin, count: int) -> None:
    """The events of one stream, each after the one before has come: never are two read, or written, at once."""
    origin.streams = True
    try:
        await client.ask()
        for number in range(count):
            origin.give(NEWS)
            if NEWS not in await client.reader.readuntil(b"\n\n"):
                raise RuntimeError(f"event {number} is something else")
        origin.give(ANSWER)
        origin.end()
        await client.reader.readuntil(b"\r\n0\r\n\r\n")
    finally:
        origin.streams = False
