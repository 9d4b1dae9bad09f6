"""`cloakroom connect`: real clients that only start commands, through it and the proxy at real servers."""

from __future__ import annotations

from pathlib import Path

from harness import HERE, NODE, PYTHON, Report, free_port, run_everything, run_fixture
from proxy import Proxy, http, sse
from scripts import run_client

# As CLIENTS in run.py.
CLIENTS = (
    ("connect: Python SDK 2.3.0", [PYTHON, "connect.py"], 33),
    ("connect: TypeScript SDK 1.32.2 and client 2.4.0", [NODE, "connect.mjs"], 18),
)


RESTARTS = ("connect: Python SDK 2.3.0, restarts", [PYTHON, "connect_restarts.py"], 9)


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    told_as_directly(report, binary, client, folder)
    name, command, expected = RESTARTS
    if client in name:
        restarts(report, binary, name, command, expected, folder)


def restarts(report: Report, binary: Path, name: str, command: list, expected: int, folder: Path) -> None:
    """The script starts and kills the server and the proxy by itself."""
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    proxy = Proxy(binary, folder / "restarts", {"fixture": http(f"{at}/mcp"), "old": sse(f"{at}/sse")})
    alice = proxy.add_user("alice")
    server = [PYTHON, HERE / "fixture" / "server.py", "--port", port, "--require-token"]
    serve = [binary, "serve", "--config", proxy.config]
    peers = {
        "binary": str(binary),
        "alice": alice.told(),
        "url": proxy.url("fixture"),
        "sse_url": proxy.url("old", "sse"),
        "server": {"command": [str(word) for word in server], "port": port},
        "proxy": {"command": [str(word) for word in serve], "port": proxy.port},
    }
    run_client(report, name, command, expected, peers)


def told_as_directly(report: Report, binary: Path, client: str, folder: Path) -> None:
    servers = {
        "fixture": (http, *run_fixture(folder, "--require-token")),
        "fixture-sse": (sse, *run_fixture(folder, "--require-token", path="/sse")),
        "everything": (http, *run_everything(folder)),
        "everything-sse": (sse, *run_everything(folder, "sse")),
    }
    settings = {name: table(url) for name, (table, _, url) in servers.items()}
    proxy = Proxy(binary, folder / "connect", settings)
    users = [proxy.add_user("alice"), proxy.add_user("bob")]
    nobody = proxy.add_user("nobody")
    proxy.command("key", "revoke", nobody.key_id)
    proxy.serve()
    peers = {"binary": str(binary), "wrong_key": nobody.key, **{user.name: user.told() for user in users}}
    for name, (table, _, url) in servers.items():
        transport = "http" if table is http else "sse"
        path = "mcp" if table is http else "sse"
        peers[name.replace("-", "_")] = {"direct": url, "proxied": proxy.url(name, path), "transport": transport}
    for name, command, expected in CLIENTS:
        if client in name:
            run_client(report, name, command, expected, peers)
    proxy.check_log(report, "log, connect", users)
    code = proxy.process.stop()
    report.check("proxy", "ends by itself when told to, connect", code in (0, -15), f"exit {code}")
    for _, process, _ in servers.values():
        process.stop()
