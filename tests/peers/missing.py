"""A user whose secret is missing: sent to the page, the secret set, the call answered."""

from __future__ import annotations

from pathlib import Path

from harness import NODE, PYTHON, Report, run_fixture
from proxy import Proxy, http, sse
from scripts import run_client

# As CLIENTS in run.py.
CLIENTS = (
    ("missing secret: Python SDK 2.3.0", [PYTHON, "missing_secret.py"], 5),
    ("missing secret: TypeScript SDK 1.32.2 and client 2.4.0", [NODE, "missing_secret.mjs"], 4),
)
PAGE = "https://setup.example/{server}?profile={profile}"
# One for each check that sets a secret: everybody begins without.
USERS = ("py-legacy", "py-auto", "py-modern", "py-sse", "py-unable", "ts-first", "ts-legacy", "ts-modern", "ts-declines")


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    fixture, url = run_fixture(folder)
    omit = 'discovery = "omit"\n'
    servers = {"fixture": omit + http(url), "stream": omit + sse(url.removesuffix("/mcp") + "/sse")}
    proxy = Proxy(binary, folder / "missing", servers, f'setup_url = "{PAGE}"\n')
    users = [proxy.add_user(name, secrets=False) for name in USERS]
    proxy.serve()
    peers = {
        "url": proxy.url("fixture"),
        "stream": proxy.url("stream", "sse"),
        "page": PAGE.format(server="fixture", profile="default"),
        "cloakroom": [str(binary), "--config", str(proxy.config)],
        "users": {user.name: user.told() for user in users},
    }
    for name, command, expected in CLIENTS:
        if client.casefold() in name.casefold():
            run_client(report, name, command, expected, peers)
    proxy.check_log(report, "log, missing secret", users)
    proxy.process.stop(), fixture.stop()
