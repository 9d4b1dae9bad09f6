"""HTTP+SSE of 2024-11-05: every client that still speaks it, at two servers, and a thief."""

from __future__ import annotations

from pathlib import Path

from harness import NODE, PYTHON, Report, run_everything, run_fixture
from proxy import Proxy, sse
from scripts import run_client

# As CLIENTS in run.py.
CLIENTS = (
    ("SSE: Python SDK 2.3.0", [PYTHON, "sse.py"], 10),
    ("SSE: TypeScript SDK 1.32.2 and client 2.4.0", [NODE, "sse.mjs"], 14),
    ("SSE: inspector 2.12.0", [PYTHON, "inspector_sse.py"], 6),
    ("SSE: fastmcp 4.1.2", [PYTHON, "fastmcp_client.py"], 6),
    ("SSE: stolen message paths", [PYTHON, "sse_theft.py"], 7),
)


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    fixture, fixture_url = run_fixture(folder, "--require-token", path="/sse")
    everything, everything_url = run_everything(folder, "sse")
    proxy = Proxy(binary, folder / "sse", {"fixture": sse(fixture_url), "everything": sse(everything_url)})
    users = [proxy.add_user("alice"), proxy.add_user("bob")]
    nobody = proxy.add_user("nobody")
    proxy.command("key", "revoke", nobody.key_id)
    proxy.serve()
    peers = {
        "sse": {"direct": fixture_url, "proxied": proxy.url("fixture", "sse"), "default": f"{proxy.origin}/sse"},
        "everything": {"direct": everything_url, "proxied": proxy.url("everything", "sse")},
        "wrong_key": nobody.key,
        **{user.name: user.told() for user in users},
    }
    for name, command, expected in CLIENTS:
        if client in name:
            run_client(report, name, command, expected, peers)
    proxy.check_log(report, "log, SSE", users)
    code = proxy.process.stop()
    report.check("proxy", "ends by itself when told to, SSE", code in (0, -15), f"exit {code}")
    fixture.stop(), everything.stop()
