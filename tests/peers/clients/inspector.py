"""The official inspector's command line, in both eras."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import MODULES, NODE  # noqa: E402
from say import check, peers, same  # noqa: E402

PEERS = peers()
ENTRY = MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
HOME = tempfile.TemporaryDirectory()


def inspector(*words: str) -> subprocess.CompletedProcess:
    command = [str(NODE), str(ENTRY), "--cli", *words, "--format", "json", "--quiet"]
    env = {**os.environ, "HOME": HOME.name}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, stdin=subprocess.DEVNULL)


async def answer(*words: str) -> dict:
    done = await asyncio.to_thread(inspector, *words)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}"
    return json.loads(done.stdout)


def reach(user, era: str) -> list[str]:
    if era == "legacy":
        return [PEERS.url, "--transport", "http", "--header", f"Authorization: Bearer {user.key}"]
    config = Path(HOME.name) / f"{user.name}.json"
    server = {
        "type": "streamable-http",
        "url": PEERS.url,
        "headers": {"Authorization": f"Bearer {user.key}"},
        "protocolEra": "modern",
    }
    config.write_text(json.dumps({"mcpServers": {"peer": server}}))
    return ["--config", str(config), "--server", "peer"]


def inner(found: dict) -> dict:
    return found.get("result", found)


async def lists(era: str) -> None:
    found = inner(await answer(*reach(PEERS.alice, era), "--method", "tools/list"))
    assert "whoami" in [tool["name"] for tool in found["tools"]], found


async def whoami(era: str, user) -> None:
    found = inner(await answer(*reach(user, era), "--method", "tools/call", "--tool-name", "whoami"))
    same(found["content"][0]["text"], user.fingerprint)


async def refused() -> None:
    words = [PEERS.url, "--transport", "http", "--header", f"Authorization: Bearer {PEERS.wrong_key}"]
    done = await asyncio.to_thread(inspector, *words, "--stored-auth-only", "--method", "tools/list")
    assert done.returncode != 0, "the inspector was let in"
    assert "401" in done.stderr + done.stdout or done.returncode == 3, f"exit {done.returncode}: {done.stderr.strip()}"


async def main() -> None:
    for era in ("legacy", "modern"):
        await check(f"{era}: tools/list", lists(era), 60)
        for user in (PEERS.alice, PEERS.bob):
            await check(f"{era}: whoami is {user.name}", whoami(era, user), 60)
    await check("a key of nobody is refused", refused(), 60)


if __name__ == "__main__":
    asyncio.run(main())
