"""The peer checks: real clients, a real server and the official suites, around the real proxy.

    python tests/peers/run.py [--only conformance|clients|smuggling] [--client NAME] [--keep] [--count FILE]

Run by tests/run.sh, which installs everything first. $CLOAKROOM_BIN names another binary to test.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import arguments
import conformance
import conformance_clients
import connect
import jira_users
import legacy_sse
import missing
import profiles
import smuggling
import stdio_clients
import stdio_conformance
import stdio_servers
from harness import NODE, PYTHON, RMCP, Broken, Report, run_everything, run_fixture, stop_on_signals
from proxy import Proxy, User, build, http
from scripts import run_client

# Each client script and how many checks it must report: fewer means it stopped half-way.
CLIENTS = (
    ("Python SDK 2.3.0", [PYTHON, "python_sdk.py"], 27),
    ("TypeScript SDK 1.32.2", [NODE, "typescript_sdk.mjs"], 8),
    ("TypeScript client 2.4.0", [NODE, "typescript_client.mjs"], 19),
    ("inspector 2.12.0", [PYTHON, "inspector.py"], 7),
    ("fastmcp 4.1.2", [PYTHON, "fastmcp_client.py"], 8),
    ("rmcp 3.9.0", [RMCP], 9),
    ("stolen ids", [PYTHON, "theft.py"], 9),
    ("secrets in arguments", [PYTHON, "arguments.py"], 16),
)


def check_revoked(report: Report, proxy: Proxy, user: User) -> None:
    """A revoked key stops working, and only that key."""
    old, old_id = user.key, user.key_id
    new = proxy.issue_key(user)
    proxy.command("key", "revoke", old_id)
    deadline = time.monotonic() + 5
    while status(proxy, old) != 401 and time.monotonic() < deadline:
        time.sleep(0.1)
    report.check("revocation", "a revoked key gets 401", status(proxy, old) == 401, f"got {status(proxy, old)}")
    report.check("revocation", "another key of the user goes on", status(proxy, new) == 200, f"got {status(proxy, new)}")


def status(proxy: Proxy, key: str) -> int:
    import httpx2

    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {
        "Authorization": f"Bearer {key}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    return httpx2.post(proxy.url("fixture"), json=body, headers=headers, timeout=10).status_code


def at_once(report: Report, parts: list[Callable[[], None]]) -> None:
    """Most of their time is waiting for programs to start. A signal ends the main thread, which waits for none."""

    def run_one(part: Callable[[], None]) -> None:
        try:
            part()
        except (Broken, subprocess.CalledProcessError) as reason:
            report.check("set-up", "the peers run", False, str(reason))
        except Exception:
            report.check("set-up", "the peers run", False, traceback.format_exc())

    threads = [threading.Thread(target=run_one, args=[part], daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(report: Report, only: str | None, client: str, folder: Path) -> None:
    fixture, fixture_url = run_fixture(folder, "--require-token")
    everything, everything_url = run_everything(folder)
    argument = arguments.value()
    wanting, wanting_url = run_fixture(folder, "--require-token", *arguments.mode(argument))
    binary = build()
    servers = {
        "fixture": http(fixture_url),
        "everything": http(everything_url),
        "wanting": http(wanting_url) + arguments.SLOT,
    }
    proxy = Proxy(binary, folder / "proxy", servers)
    alice, bob = proxy.add_user("alice"), proxy.add_user("bob")
    nobody = proxy.add_user("nobody")
    proxy.command("key", "revoke", nobody.key_id)
    others = arguments.value()
    for user, secret in ((alice, argument), (bob, others)):
        arguments.set_for(proxy, "wanting", user, secret)
    proxy.serve()
    direct_token = "fixture-direct"

    def clients() -> None:
        peers = {
            "url": proxy.url("fixture"),
            "other_url": proxy.url("everything"),
            "backend_host": fixture_url.split("/")[2],
            "direct_url": fixture_url,
            "direct_token": direct_token,
            "wrong_key": nobody.key,
            "http": {"direct": fixture_url, "proxied": proxy.url("fixture")},
            "arguments": {"direct": wanting_url, "proxied": proxy.url("wanting"), "secret": argument},
            **{user.name: user.told() for user in (alice, bob)},
        }
        for name, command, expected in CLIENTS:
            if client.casefold() not in name.casefold():
                continue
            run_client(report, name, command, expected, peers)
        for others_clients in (legacy_sse, missing, profiles, jira_users):
            others_clients.run(report, binary, client, folder)

    def started() -> None:
        for clients_of_stdio in (connect, stdio_servers, stdio_clients):
            clients_of_stdio.run(report, binary, client, folder)

    def conformances() -> None:
        through = {name: (proxy.url(name), alice.key) for name in servers}
        ways = {"fixture": through["fixture"], "fixture, argument": through["wanting"]}
        direct = conformance.run(report, "fixture", (fixture_url, direct_token), ways, folder)
        stdio_conformance.run(report, binary, direct, folder)
        conformance.run(report, "everything", (everything_url, None), {"everything": through["everything"]}, folder)
        conformance_clients.run(report, binary, folder)

    sections = {
        "clients": (clients, started),
        "conformance": (conformances,),
        "smuggling": (lambda: smuggling.run(report, binary, folder),),
    }
    at_once(report, [part for name, parts in sections.items() if only in (None, name) for part in parts])
    proxy.check_log(report, "log", [alice, bob])
    arguments.check_log(report, proxy, [argument, others])
    check_revoked(report, proxy, bob)
    code = proxy.process.stop()
    report.check("proxy", "ends by itself when told to", code in (0, -15), f"exit {code}")
    fixture.stop(), everything.stop(), wanting.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("conformance", "clients", "smuggling"))
    parser.add_argument("--client", default="", help="of the client scripts, only those with this in their name")
    parser.add_argument("--keep", action="store_true", help="keep logs and results even when all is well")
    parser.add_argument("--count", type=Path, help="write the closing line to this file instead of printing it")
    args = parser.parse_args()
    stop_on_signals()
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="cloakroom-peers-"))
    try:
        run(report, args.only, args.client, folder)
    except Broken as reason:
        report.check("set-up", "the peers run", False, str(reason))
    except subprocess.CalledProcessError as failed:
        report.check("set-up", "the peers run", False, str(failed))
    report.summary()
    if report.failures or args.keep:
        print(f"\nLogs and results: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    count = f"{report.passed} passed, {len(report.failures)} failed"
    if args.count:
        args.count.write_text(count)
    else:
        print(f"\n{count}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
