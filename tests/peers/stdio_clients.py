"""Every client at servers that the proxy starts: over Streamable HTTP and over HTTP+SSE."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import NODE, PYTHON, Report, run_everything, run_fixture
from proxy import Proxy, started_everything, started_fixture
from scripts import run_client

# As CLIENTS in run.py; the longest first. Two run at once: most of their time is waiting.
CLIENTS = (
    ("stdio: Python SDK 2.3.0", [PYTHON, "python_sdk.py"], 21),
    ("stdio: TypeScript client 2.4.0", [NODE, "typescript_client.mjs"], 19),
    ("stdio: server-everything", [PYTHON, "stdio_everything.py"], 10),
    ("stdio: TypeScript SDK 1.32.2", [NODE, "typescript_sdk.mjs"], 8),
    ("stdio: fastmcp 4.1.2", [PYTHON, "fastmcp_client.py"], 8),
    ("stdio: inspector 2.12.0", [PYTHON, "inspector.py"], 7),
    ("stdio, SSE: Python SDK 2.3.0", [PYTHON, "sse.py"], 10),
    ("stdio, SSE: stolen message paths", [PYTHON, "sse_theft.py"], 6),
    ("stdio, SSE: TypeScript SDK 1.32.2 and client 2.4.0", [NODE, "sse.mjs"], 14),
)


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    wanted = [one for one in CLIENTS if client.casefold() in one[0].casefold()]
    if not wanted:
        return
    fixture, fixture_url = run_fixture(folder, "--require-token")
    everything, everything_url = run_everything(folder, "sse")
    sleepy = started_everything("SLEEPY", 'sleep = "2s"\n')
    servers = {"fixture": started_fixture(), "everything": started_everything(), "sleepy": sleepy}
    proxy = Proxy(binary, folder / "stdio-clients", servers)
    users = [proxy.add_user("alice"), proxy.add_user("bob")]
    nobody = proxy.add_user("nobody")
    proxy.command("key", "revoke", nobody.key_id)
    proxy.serve()
    direct_sse = fixture_url.removesuffix("/mcp") + "/sse"
    peers = {
        "url": proxy.url("fixture"),
        "other_url": proxy.url("everything"),
        "http": {"direct": fixture_url, "proxied": proxy.url("fixture")},
        "sse": {"direct": direct_sse, "proxied": proxy.url("fixture", "sse"), "default": f"{proxy.origin}/sse"},
        "everything": {"direct": everything_url, "proxied": proxy.url("everything", "sse")},
        "sleepy": proxy.url("sleepy"),
        "started": True,
        "wrong_key": nobody.key,
        **{user.name: user.told() for user in users},
    }
    # fastmcp's script goes where it is told to: over SSE it is as the others.
    http_only = {name: told for name, told in peers.items() if name != "sse"}
    running = []
    with ThreadPoolExecutor(2) as pool:
        for name, command, expected in wanted:
            told = peers if "SSE" in name else http_only
            running.append(pool.submit(run_client, report, name, command, expected, told))
    for one in running:
        one.result()
    proxy.check_log(report, "log, stdio", users)
    code = proxy.process.stop()
    report.check("proxy", "ends by itself when told to, stdio", code in (0, -15), f"exit {code}")
    fixture.stop(), everything.stop()
