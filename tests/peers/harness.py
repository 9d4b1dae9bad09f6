"""What every peer check uses: where things are, processes that are always stopped, and the count."""

from __future__ import annotations

import atexit
import collections
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = HERE / ".work"
MODULES = WORK / "node_modules"
ARCH = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
NODE = MODULES / f"node-linux-{ARCH}" / "bin" / "node"
PYTHON = Path(sys.executable)
EVERYTHING = MODULES / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
RMCP = WORK / "rmcp" / "debug" / "rmcp-peer"


class Broken(Exception):
    """The check could not be run at all; the text says what to do."""


class Report:
    """Counts checks; prints every failure at once and a table at the end."""

    def __init__(self) -> None:
        self._groups: dict[str, list[int]] = collections.OrderedDict()
        self.failures: list[str] = []

    def check(self, group: str, name: str, ok: bool, why: str = "") -> bool:
        counts = self._groups.setdefault(group, [0, 0])
        counts[0 if ok else 1] += 1
        if not ok:
            line = f"{group}: {name}" + (f": {why}" if why else "")
            self.failures.append(line)
            print(f"FAILED {line}", flush=True)
        return ok

    @property
    def passed(self) -> int:
        return sum(good for good, _ in self._groups.values())

    def summary(self) -> None:
        print()
        for group, (good, bad) in self._groups.items():
            print(f"  {group:<52} {good:>4} passed {bad:>4} failed")
        if self.failures:
            print("\nFailures again:")
            for line in self.failures:
                print(f"  {line}")


HELD: list[socket.socket] = []


def free_port() -> int:
    """One that nobody else is given: it stays bound, which hinders no server that sets SO_REUSEADDR, as all do."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    HELD.append(held)
    return held.getsockname()[1]


class Process:
    """A background process with its output in a file; ended by its pid, at the latest at exit."""

    def __init__(self, name: str, command: list, log: Path, env: dict | None = None, cwd: Path | None = None) -> None:
        self.name, self.log = name, log
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )
        self.pid = self._child.pid
        atexit.register(self.stop)

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def wait_for(self, port: int, seconds: float = 20) -> Process:
        """Wait until it accepts connections on the loopback port."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise Broken(f"{self.name} ended with {self._child.returncode} before it listened:\n{self.tail()}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.05)
        raise Broken(f"{self.name} did not listen on port {port} within {seconds} s:\n{self.tail()}")

    def stop(self) -> int:
        """Ask it to end, then make it; its exit code."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        return self._child.returncode


def stop_on_signals() -> None:
    """Let `atexit` run when the runner itself is told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))


def run_fixture(folder: Path, *options: str, path: str = "/mcp") -> tuple[Process, str]:
    port = free_port()
    command = [PYTHON, HERE / "fixture" / "server.py", "--port", port, *options]
    return Process("fixture", command, folder / f"fixture-{port}.log").wait_for(port), f"http://127.0.0.1:{port}{path}"


def run_everything(folder: Path, transport: str = "streamableHttp") -> tuple[Process, str]:
    port = free_port()
    command = [NODE, "--import", HERE / "preload_loopback.mjs", EVERYTHING, transport]
    process = Process("server-everything", command, folder / f"everything-{port}.log", {"PORT": str(port)})
    return process.wait_for(port), f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"
