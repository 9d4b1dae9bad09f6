"""Servers people really start on standard input and output: through the proxy as when started by hand."""

from __future__ import annotations

from pathlib import Path

from harness import EVERYTHING, MODULES, NODE, PYTHON, WORK, Report
from proxy import Proxy, started
from scripts import run_client

GITHUB = "GITHUB_PERSONAL_ACCESS_TOKEN"
# By name: how each is started, and the variables it wants.
SERVERS: dict[str, tuple[list, dict[str, str]]] = {
    "github": ([NODE, MODULES / "@modelcontextprotocol" / "server-github" / "dist" / "index.js"], {GITHUB: "${TOKEN}"}),
    "notion": ([NODE, MODULES / "@notionhq" / "notion-mcp-server" / "bin" / "cli.mjs"], {"NOTION_TOKEN": "${TOKEN}"}),
    "brave": ([NODE, MODULES / "@brave" / "brave-search-mcp-server" / "dist" / "index.js"], {"BRAVE_API_KEY": "${TOKEN}"}),
    "everything": ([NODE, EVERYTHING, "stdio"], {"TOKEN": "${TOKEN}"}),
    "atlassian": (
        [WORK / "atlassian" / "bin" / "mcp-atlassian"],
        {"JIRA_URL": "http://jira.example", "JIRA_PERSONAL_TOKEN": "${TOKEN}"},
    ),
}
# Fetched and resolved by the proxy; by hand it is the one that is installed already, in the same version.
FETCHED = ["npx", "-y", "@modelcontextprotocol/server-github@2025.4.8"]


def run(report: Report, binary: Path, client: str, folder: Path) -> None:
    name = "stdio servers: Python SDK 2.3.0"
    if client.casefold() not in name.casefold():
        return
    servers = {server: started(words, env) for server, (words, env) in SERVERS.items()}
    servers["npx"] = started(FETCHED, SERVERS["github"][1])
    proxy = Proxy(binary, folder / "stdio-servers", servers)
    users = [proxy.add_user("alice"), proxy.add_user("bob")]
    # Before it listens it fetches what npx is to run.
    proxy.serve(180)
    by_hand = SERVERS | {"npx": SERVERS["github"]}
    peers = {
        "servers": [
            {"name": server, "command": [str(word) for word in words], "env": env, "url": proxy.url(server)}
            for server, (words, env) in by_hand.items()
        ],
        "everything": proxy.url("everything"),
        **{user.name: user.told() for user in users},
    }
    run_client(report, name, [PYTHON, "stdio_servers.py"], len(by_hand) + 1, peers)
    proxy.check_log(report, "log, stdio servers", users)
    code = proxy.process.stop()
    report.check("proxy", "ends by itself when told to, stdio servers", code in (0, -15), f"exit {code}")
