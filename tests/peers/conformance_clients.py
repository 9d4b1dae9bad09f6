"""The suites' client scenarios: real clients against the suite's mock servers, directly and through a
proxy in between. The same result, check by check, and the clients are told the same.

Here the suite sits behind the proxy and judges what the proxy sends to a server: headers that must agree
with the body, `Mcp-Param-*` it must leave alone, `requestState`, `Last-Event-ID`, and tool schemas on
their way back. The server has an argument slot besides, so that every call's body is rewritten.

Left out: `auth/*`, where the mock server is an OAuth resource server whose challenges a proxy must not
pass on; and `sep-2640-client-*`, which judge what a client does with the digests of a skill's files. What
a proxy must do for skills, the server scenarios show.

Fails when `to_backend` in src/mcp/headers.rs no longer lists `mcp-param-`, or when `Opened::from_headers`
forgets the `Last-Event-ID`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from conformance import Outcome, compare
from harness import HERE, MODULES, NODE, PYTHON, Broken, Report

TIMEOUT = 60
SESSION, STATELESS = "2025-11-25", "2026-07-28"


@dataclass(frozen=True)
class Scenario:
    """One scenario of a suite, and how many checks must succeed in it directly."""

    package: str
    name: str
    revision: str
    checks: int


SCENARIOS = (
    Scenario("conformance-stable", "initialize", SESSION, 1),
    Scenario("conformance-stable", "tools_call", SESSION, 1),
    Scenario("conformance-stable", "elicitation-sep1034-client-defaults", SESSION, 5),
    Scenario("conformance-stable", "sse-retry", SESSION, 3),
    Scenario("conformance-modern", "initialize", SESSION, 1),
    Scenario("conformance-modern", "tools_call", SESSION, 2),
    Scenario("conformance-modern", "elicitation-sep1034-client-defaults", SESSION, 5),
    Scenario("conformance-modern", "sse-retry", SESSION, 3),
    Scenario("conformance-modern", "json-schema-2020-12-preservation", SESSION, 9),
    Scenario("conformance-modern", "tools_call", STATELESS, 2),
    Scenario("conformance-modern", "request-metadata", STATELESS, 8),
    Scenario("conformance-modern", "sep-2322-client-request-state", STATELESS, 5),
    Scenario("conformance-modern", "http-standard-headers", STATELESS, 9),
    Scenario("conformance-modern", "http-custom-headers", STATELESS, 18),
    Scenario("conformance-modern", "http-invalid-tool-headers", STATELESS, 12),
    Scenario("conformance-modern", "json-schema-ref-no-deref", STATELESS, 1),
    Scenario("conformance-modern", "json-schema-2020-12-preservation", STATELESS, 9),
)
# The second client only where it sends other requests than the first; it takes three times as long to start.
AGAIN = ("tools_call", "sse-retry", "request-metadata", "sep-2322-client-request-state", "http-custom-headers")
CLIENTS = (
    ("TypeScript client 2.4.0", [NODE, HERE / "clients" / "conformance_client.mjs"], SCENARIOS),
    (
        "Python SDK 2.3.0",
        [PYTHON, HERE / "clients" / "conformance_client.py"],
        tuple(one for one in SCENARIOS if one.name in AGAIN and one.package == "conformance-modern"),
    ),
)


def run_one(scenario: Scenario, client: list, proxy: Path | None, folder: Path) -> Outcome:
    """The scenario's checks with their statuses, and what the client printed as one more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = {**os.environ, "PEER_MODULES": str(MODULES), "PEER_FOLDER": str(folder)}
    if proxy is not None:
        env["PEER_PROXY"] = str(proxy)
        client = [PYTHON, HERE / "behind.py", *client]
    entry = MODULES / scenario.package / "dist" / "index.js"
    options = ["--scenario", scenario.name, "--spec-version", scenario.revision, "-o", folder / "results"]
    command = [NODE, entry, "client", "--command", " ".join(map(str, client)), *options]
    with (folder / "output.log").open("wb") as log:
        try:
            subprocess.run([str(part) for part in command], env=env, stdout=log, stderr=log, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Broken(f"{label(scenario)} took over {TIMEOUT} s; see {folder}/output.log") from None
    found = next((folder / "results").glob("*/checks.json"), None)
    if found is None:
        raise Broken(f"{label(scenario)} left no checks; see {folder}/output.log")
    checks = [(one["id"], one["status"]) for one in json.loads(found.read_text()) if one["status"] != "INFO"]
    told = (found.parent / "stdout.txt").read_text()
    # The mock server's own port is in some of its answers.
    return {label(scenario): [*checks, ("the client was told", re.sub(r"localhost:\d+", "localhost", told))]}


def label(scenario: Scenario) -> str:
    return f"{scenario.name} ({scenario.package.removeprefix('conformance-')}, {scenario.revision})"


def run(report: Report, proxy: Path, folder: Path) -> None:
    for client, command, scenarios in CLIENTS:
        group = f"conformance of clients, {client}"
        print(f"… {group}", flush=True)
        sides: dict[Path | None, Outcome] = {None: {}, proxy: {}}
        with ThreadPoolExecutor(3) as pool:
            started = [
                (way, pool.submit(run_one, one, command, way, folder / f"client-{command[0].name}-{number}-{side}"))
                for number, one in enumerate(scenarios)
                for side, way in enumerate(sides)
            ]
            for way, outcome in started:
                sides[way] |= outcome.result()
        for one in scenarios:
            passed = [status for _, status in sides[None][label(one)]].count("SUCCESS")
            enough = passed == one.checks
            report.check(group, f"{label(one)}: {one.checks} checks succeed directly", enough, f"{passed} did")
        compare(report, group, "suite", sides[None], sides[proxy])
