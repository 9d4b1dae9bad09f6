"""A proxy in a folder of its own with one user, run under a tool that counts, as `serve` is by default."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from . import traffic

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CLOAKROOM_BIN") or str(ROOT / "target" / "debug" / "cloakroom")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
PATIENCE = 120
CONFIG = """
listen = "127.0.0.1:0"
[servers.header]
url = "http://127.0.0.1:PORT/header"
[servers.header.headers]
Authorization = "Bearer ${TOKEN}"
[servers.argument]
url = "http://127.0.0.1:PORT/argument"
[servers.argument.arguments]
api_token = { value = "${TOKEN}", tools = ["create_issue"] }
"""
Traffic = Callable[[traffic.Client, traffic.Origin, int], Awaitable[None]]


class House:
    def __init__(self, folder: str, origin: traffic.Origin) -> None:
        self.folder, self.origin = Path(folder), origin

    async def furnish(self) -> House:
        (self.folder / "cloakroom.toml").write_text(CONFIG.replace("PORT", str(self.origin.port)))
        await self.command("keyring", "init")
        await self.command("user", "add", "alice")
        self.key = (await self.command("key", "issue", "alice"))["key"]
        for server in ("header", "argument"):
            await self.command("secret", "set", "alice", server, "TOKEN", given=traffic.SECRET)
        return self

    async def command(self, *words: str, given: str = "") -> dict:
        process = await self.begin(BINARY, *words, stdin=asyncio.subprocess.PIPE)
        said, _ = await process.communicate(given.encode())
        if process.returncode:
            raise RuntimeError(f"cloakroom {' '.join(words)}: {self.log()}")
        return json.loads(said or "{}")

    async def begin(self, *words: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        with open(self.folder / "log", "wb") as log:
            return await asyncio.create_subprocess_exec(
                *words, "--json", "--config", "cloakroom.toml",
                cwd=self.folder, env=ENVIRONMENT, stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=log,
            )

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    async def serve(self, tool: list[str], server: str, send: Traffic, count: int) -> None:
        """Serves that much under the tool, from the start to the orderly end."""
        process = await self.begin(*tool, BINARY, "serve")
        try:
            async with asyncio.timeout(PATIENCE):
                said = await process.stdout.readline()
                port = int(json.loads(said)["listening"].rsplit(":", 1)[1].strip("/"))
                async with traffic.Client(port, self.key, server) as client:
                    await send(client, self.origin, count)
                process.send_signal(signal.SIGTERM)
                if await process.wait() != 0:
                    raise RuntimeError(f"it ended with {process.returncode}")
        except (RuntimeError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise RuntimeError(f"{tool[0]}, {count} to {server}: {error!r}; its log:\n{self.log()}") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
