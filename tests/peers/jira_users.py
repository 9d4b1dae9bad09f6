"""mcp-atlassian, a server people really run: each user's own credential must arrive at Jira."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from harness import HERE, PYTHON, WORK, Process, Report, free_port
from proxy import Proxy, http
from scripts import run_client

OPERATOR = "the-operators-own-token"
SITE = "headers = { X-Atlassian-Jira-Url = '${SITE}', X-Atlassian-Jira-Personal-Token = '${TOKEN}' }\n"


def slots(url: str) -> dict[str, str]:
    """The four ways in which it takes a user's credential."""
    return {
        "bearer": http(url),
        "token": http(url, "Token ${TOKEN}"),
        "basic": http(url, "Basic ${base64(USER:TOKEN)}"),
        "site": f'url = "{url}"\n{SITE}',
    }


def run_jira(folder: Path) -> tuple[Process, str]:
    port = free_port()
    command = [PYTHON, HERE / "fixture" / "jira.py", "--port", port]
    return Process("the Jira", command, folder / "jira.log").wait_for(port), f"http://127.0.0.1:{port}"


def run_server(folder: Path, jira: str) -> tuple[Process, str]:
    """With a Jira and a token of the operator's, who must not stand in for a user."""
    port = free_port()
    program = "import mcp_atlassian; mcp_atlassian.main()"
    options = ["--transport", "streamable-http", "--host", "127.0.0.1", "--port", port]
    env = {
        "HOME": str(folder),
        "JIRA_URL": jira,
        "JIRA_PERSONAL_TOKEN": OPERATOR,
        # A site of a user's own is looked up by name; these two let one be named that does not exist.
        "MCP_ALLOWED_URL_DOMAINS": "jira.example",
        "JIRA_HTTP_PROXY": jira,
        "JIRA_NO_PROXY": "127.0.0.1",
    }
    process = Process("mcp-atlassian", [WORK / "atlassian" / "bin" / "python", "-c", program, *options], folder / "atlassian.log", env)
    return process.wait_for(port, 60), f"http://127.0.0.1:{port}/mcp"


def check_arrivals(report: Report, group: str, log: Path, known: set[str]) -> None:
    """At the Jira itself: nothing but the users' own credentials ever arrived, and all of them did."""
    seen = {json.loads(line)["credential"] for line in log.read_text().splitlines()}
    report.check(group, "no other credential arrived at Jira", seen <= known, f"{len(seen - known)} others")
    report.check(group, "every user's credentials arrived", seen >= known, f"{len(known - seen)} missing")


def fingerprint(authorization: str) -> str:
    return hashlib.sha256(authorization.encode()).hexdigest()


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    name = "Python SDK 2.3.0 at mcp-atlassian 0.23.1"
    if client.casefold() not in name.casefold():
        return
    jira, jira_url = run_jira(folder)
    server, url = run_server(folder, jira_url)
    servers = slots(url)
    proxy = Proxy(binary, folder / "atlassian", servers)
    users, known = [proxy.add_user("alice"), proxy.add_user("bob")], set()
    peers: dict = {"direct": url, "proxied": {name: proxy.url(name) for name in servers}}
    for user in users:
        proxy.command("secret", "set", user.name, "basic", "USER", stdin=f"{user.name}@example.com")
        proxy.command("secret", "set", user.name, "site", "SITE", stdin=f"http://{user.name}.jira.example")
        peers[user.name] = user.told()
    carol = proxy.add_user("carol", secrets=False)
    peers["carol"] = carol.told()
    proxy.serve()
    run_client(report, name, [PYTHON, "jira_users.py"], 15, peers)
    for user in users:
        known |= {fingerprint(f"Bearer {user.token}"), fingerprint(user.basic)}
    check_arrivals(report, f"client {name}", jira.log, known)
    proxy.check_log(report, "log, mcp-atlassian", users)
    proxy.process.stop(), server.stop(), jira.stop()
