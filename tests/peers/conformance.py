"""The official conformance suites, directly and through the proxy: the same result, check by check."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness import HERE, MODULES, NODE, Broken, Report

TIMEOUT = 240
SUMMARY = re.compile(r"^[✓✗] ([a-z0-9-]+): ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One way to call a suite, and how many scenarios it must report."""

    name: str
    package: str
    options: tuple[str, ...]
    scenarios: int


RUNS = (
    Run("0.1.16 all", "conformance-stable", ("--suite", "all"), 32),
    Run("0.2.0-alpha.12 all", "conformance-modern", ("--suite", "all"), 65),
    Run("0.2.0-alpha.12 required by 2025-11-25", "conformance-modern", ("--requirements", "2025-11-25"), 33),
    Run("0.2.0-alpha.12 required by 2026-07-28", "conformance-modern", ("--requirements", "2026-07-28"), 50),
)

# Where the proxy is meant to differ from a server behind it: (server, scenario, check) -> (directly, through).
MEANT = {
    # server-everything serves any Host and Origin; the proxy in front of it refuses foreign ones.
    ("everything", "dns-rebinding-protection", "localhost-host-rebinding-rejected"): ("FAILURE", "SUCCESS"),
    # server-everything knows no revision in which headers must agree with the body; the proxy checks them.
    ("everything", "server-stateless", "sep-2575-http-server-header-mismatch-400"): ("FAILURE", "SUCCESS"),
    ("everything", "tasks-request-headers", "tasks-headers-reject-mismatched-method"): ("FAILURE", "SUCCESS"),
    # The proxy offers no list of tasks, whoever asks; SEP-2663 took the method away.
    ("everything", "tasks-dispatch-and-envelope", "tasks-removed-tasks-list"): ("FAILURE", "SUCCESS"),
}

Outcome = dict[str, list[tuple[str, str]]]


def run_suite(run: Run, url: str, folder: Path, bearer: str | None) -> Outcome:
    """Every scenario of one run with its checks' statuses, in the order they were made."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = dict(os.environ)
    if bearer is not None:
        origin = url.split("/", 3)
        env["PEER_ORIGIN"], env["PEER_BEARER"] = "/".join(origin[:3]), bearer
        env["NODE_OPTIONS"] = f"--import {(HERE / 'preload_bearer.mjs').as_uri()}"
    command = [NODE, MODULES / run.package / "dist" / "index.js", "server", "--url", url, *run.options, "-o", folder]
    with (folder / "output.log").open("wb") as log:
        try:
            subprocess.run([str(part) for part in command], env=env, stdout=log, stderr=log, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Broken(f"conformance {run.name} against {url} took over {TIMEOUT} s; see {folder}/output.log") from None
    outcome: Outcome = {}
    for found in sorted(folder.glob("server-*/checks.json")):
        # server-<scenario>-2026-01-01T00-00-00-000Z
        scenario = found.parent.name.removeprefix("server-")[:-25]
        made = json.loads(found.read_text())
        # INFO entries count events as they come in; how many there are is a matter of timing.
        outcome[scenario] = [(one["id"], one["status"]) for one in made if one["status"] != "INFO"]
    for scenario in SUMMARY.findall((folder / "output.log").read_text()):
        outcome.setdefault(scenario, [("the scenario gave up before its first check", "FAILURE")])
    return outcome


def describe(missing: collections.Counter, extra: collections.Counter) -> str:
    went = [f"{name} {status}" for (name, status), times in missing.items() for _ in range(times)]
    came = [f"{name} {status}" for (name, status), times in extra.items() for _ in range(times)]
    return f"directly [{', '.join(went)}], through the proxy [{', '.join(came)}]"


def compare(report: Report, group: str, server: str, direct: Outcome, proxied: Outcome) -> None:
    """One check for each scenario: the same checks with the same statuses, meant differences aside."""
    for scenario in sorted(set(direct) | set(proxied)):
        if scenario not in proxied or scenario not in direct:
            side = "through the proxy" if scenario not in proxied else "directly"
            report.check(group, scenario, False, f"did not run {side}")
            continue
        expected = [
            (check, MEANT[server, scenario, check][1])
            if MEANT.get((server, scenario, check), (None,))[0] == status
            else (check, status)
            for check, status in direct[scenario]
        ]
        want, got = collections.Counter(expected), collections.Counter(proxied[scenario])
        report.check(group, scenario, want == got, describe(want - got, got - want))


def check_direct(report: Report, group: str, outcome: Outcome) -> None:
    """The fixture itself passes everything: otherwise equal results would say nothing."""
    bad = [
        f"{scenario}: {check} {status}"
        for scenario, made in outcome.items()
        for check, status in made
        if status == "FAILURE" or not made
    ]
    report.check(group, "the fixture passes every scenario directly", not bad, "; ".join(bad))


def run(
    report: Report,
    server: str,
    direct: tuple[str, str | None],
    proxied: dict[str, tuple[str, str]],
    folder: Path,
) -> list[Outcome]:
    """All sides of every run at once: most of their time is waiting. Each way through the proxy, by its
    name, must end as the direct one. What came of each run directly."""
    outcomes = []
    for number, one in enumerate(RUNS):
        print(f"… conformance {one.name}, {server}", flush=True)
        with ThreadPoolExecutor(1 + len(proxied)) as pool:
            sides = [
                pool.submit(run_suite, one, url, folder / f"{server}-{number}-{side}", bearer)
                for side, (url, bearer) in enumerate((direct, *proxied.values()))
            ]
            first, *others = (side.result() for side in sides)
        for name, outcome in zip((server, *proxied), (first, *others)):
            enough = len(outcome) == one.scenarios
            side = "directly" if outcome is first else "through the proxy"
            group = f"conformance {one.name}, {name}"
            report.check(group, f"{one.scenarios} scenarios ran {side}", enough, f"{len(outcome)} ran")
        if server == "fixture":
            check_direct(report, f"conformance {one.name}, {server}", first)
        for name, outcome in zip(proxied, others):
            compare(report, f"conformance {one.name}, {name}", server, first, outcome)
        outcomes.append(first)
    return outcomes
