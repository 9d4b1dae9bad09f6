#!/usr/bin/env python3
"""Slow clients against the real proxy: each must be cut, while an honest one is answered all the time.

    python3 tests/slow.py

Wants slowhttptest (a package of Debian's), and the debug binary or $CLOAKROOM_BIN. Takes about 30 s.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
# The proxy's patience, and how long an attack may take to be over, in seconds.
READ, IDLE, LONGEST = 2, 3, 15
CONFIG = f"""
listen = "127.0.0.1:0"
[store]
url = "sqlite:store.db"
[limits]
read_timeout = "{READ}s"
idle_timeout = "{IDLE}s"
# The attackers are one user, who is not to be stopped by his share.
user_requests = 1000
user_streams = 1000
[servers.one]
url = "http://127.0.0.1:PORT/mcp"
"""
# Name, connections, options: a line of a head each second; a piece of a body every four seconds; answers
# read at eight bytes a second; ranges by the hundred, which are answered at once and hold nothing up.
ATTACKS = (
    ("connections that say nothing, or half a word", 300, None),
    ("heads that never end", 300, ["-H", "-i", "1"]),
    ("bodies that never end", 300, ["-B", "-s", "8192", "-t", "POST", "-i", "4"]),
    ("answers nobody reads", 50, ["-X", "-w", "8", "-y", "16", "-n", "1", "-z", "8", "-k", "1"]),
    ("ranges without end", 0, ["-R"]),
)


class Server(http.server.ThreadingHTTPServer):
    # All who are slow come at once.
    request_queue_size = 128


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers `{}`, or with a stream larger than what lies in buffers on the way."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        event = b"data: " + b"x" * 4000 + b"\n\n"
        try:
            for _ in range(8000):
                self.wfile.write(event)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


class Honest(threading.Thread):
    """Somebody who calls a tool every 50 ms, each time on a connection of its own."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__(daemon=True)
        self.port, self.key = port, key
        self.stop = threading.Event()
        self.took: list[float] = []
        self.failed: list[str] = []

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        while not self.stop.wait(0.05):
            begun = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/one/mcp", PING, headers)
                answer = connection.getresponse()
                if (answer.status, answer.read()) != (200, b"{}"):
                    self.failed.append(f"status {answer.status}")
                connection.close()
            except OSError as error:
                self.failed.append(repr(error))
            self.took.append(time.monotonic() - begun)


def attack(options: list[str], connections: int, port: int, key: str) -> subprocess.Popen:
    # The tool sets no header of one's own, but it copies this one as it is.
    accept = f"text/event-stream\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
    line = ["slowhttptest", *options, "-c", str(connections or 300), "-r", str(connections or 300)]
    line += ["-l", str(LONGEST), "-p", "5", "-x", "24", "-m", accept, "-u", f"http://127.0.0.1:{port}/one/mcp"]
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def watch(pid: int, before: int, connections: int, tool: subprocess.Popen | None) -> tuple[int, float | None]:
    """How many files of the proxy's were open at most, and after how long the attack's were closed."""
    started, most = time.monotonic(), 0
    while (took := time.monotonic() - started) < LONGEST - 1:
        now = files(pid)
        most = max(most, now - before)
        # What counts is what the proxy holds: a client that reads slowly learns late of its end. Some
        # connections of the honest client and to the backend come and go.
        # Half of them: those that are cut first may be gone before the last has come.
        under_way = most >= connections / 2 if connections else tool.poll() is not None
        if under_way and now - before <= 8:
            return most, took
        time.sleep(0.02)
    return most, None


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def main() -> int:
    given = os.environ.pop("CLOAKROOM_BIN", None)
    binary = given or str(ROOT / "target" / "debug" / "cloakroom")
    backend = Server(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:

        def command(*words: str, given: str | None = None) -> dict:
            line = [binary, *words, "--json", "--config", "cloakroom.toml"]
            done = subprocess.run(line, cwd=folder, input=given, capture_output=True, text=True, check=True)
            return json.loads(done.stdout or "{}")

        config = CONFIG.replace("PORT", str(backend.server_address[1]))
        (Path(folder) / "cloakroom.toml").write_text(config)
        command("keyring", "init")
        keys = {}
        for user in ("alice", "mallory"):
            command("user", "add", user)
            keys[user] = command("key", "issue", user)["key"]
        key = keys["mallory"]
        line = [binary, "serve", "--json", "--config", "cloakroom.toml"]
        proxy = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            listening = json.loads(proxy.stdout.readline())["listening"]
            port = int(listening.rsplit(":", 1)[1].strip("/"))
            honest = Honest(port, keys["alice"])
            honest.start()
            time.sleep(1)
            before = files(proxy.pid)
            for name, connections, options in ATTACKS:
                silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(0 if options else connections)]
                for connection in silent[::2]:
                    connection.sendall(b"PRI * HTT")
                tool = attack(options, connections, port, key) if options else None
                most, took = watch(proxy.pid, before, connections, tool)
                if tool:
                    tool.kill()
                    tool.wait()
                print(f"{name}: {most} files at most, " + (f"gone after {took:.1f} s" if took else "NOT GONE"), flush=True)
                if took is None:
                    wrong.append(f"{name}: of {most} files, {files(proxy.pid) - before} are still open")
            honest.stop.set()
            honest.join()
            worst = max(honest.took)
            print(f"honest: {len(honest.took)} requests, {len(honest.failed)} failed, the longest took {worst * 1000:.0f} ms")
            if honest.failed or worst > 5:
                wrong.append(f"the honest client waited up to {worst:.1f} s; failures: {honest.failed[:3]}")
        finally:
            proxy.terminate()
            proxy.wait(20)
    for what in wrong:
        print(f"WRONG {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
