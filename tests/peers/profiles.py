"""Profiles: one user with two sets of secrets for one server, chosen by the key or by the path."""

from __future__ import annotations

from pathlib import Path

from harness import PYTHON, Report, run_fixture
from proxy import Proxy, User, http, sse
from scripts import run_client


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    name = "profiles: Python SDK 2.3.0"
    if client.casefold() not in name.casefold():
        return
    fixture, url = run_fixture(folder, "--require-token")
    servers = {"fixture": http(url), "stream": sse(url.removesuffix("/mcp") + "/sse")}
    proxy = Proxy(binary, folder / "profiles", servers)
    # The same person twice: by a key as it is issued, and by one whose own profile is another.
    home, work = proxy.add_user("dave"), User("dave")
    for server in servers:
        proxy.command("secret", "set", "dave", server, "TOKEN", "--profile", "work", stdin=work.token)
    proxy.issue_key(work, "--profile", "work")
    erin = proxy.add_user("erin")
    proxy.command("secret", "set", "erin", "fixture", "TOKEN", "--profile", "hers", stdin=erin.token)
    proxy.serve()
    peers = {"origin": proxy.origin, "home": home.told(), "work": work.told()}
    run_client(report, name, [PYTHON, "profiles.py"], 11, peers)
    proxy.check_log(report, "log, profiles", [home, work])
    proxy.process.stop(), fixture.stop()
