"""The official conformance suites at the fixture as a child process: the same result as over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import conformance
from conformance import Outcome
from harness import Report
from proxy import Proxy, started_fixture

# The whole suites: what a revision requires is a part of them.
SUITES = conformance.RUNS[:2]

# Quick calls are answered as JSON, which Streamable HTTP allows: there is no stream to number and cut.
AS_JSON = "calls that are answered at once come as JSON, not as a stream"
# A child has no header layer, and which arguments it annotated is not looked up.
NO_HEADERS = "Mcp-Param-* is not compared with the arguments"
# Where a server that is started cannot be, or is not yet, as one over HTTP.
APART = {
    "server-sse-polling": AS_JSON,
    "server-sse-multiple-streams": AS_JSON,
    "http-custom-header-server-validation": NO_HEADERS,
}


def shared(outcome: Outcome) -> Outcome:
    return {scenario: made for scenario, made in outcome.items() if scenario not in APART}


def run(report: Report, binary: Path, direct: list[Outcome], folder: Path) -> None:
    """`direct` is what came of the fixture over HTTP, for each of `conformance.RUNS`."""
    proxy = Proxy(binary, folder / "stdio-conformance", {"fixture": started_fixture()})
    alice = proxy.add_user("alice")
    proxy.serve()
    print("… conformance, fixture on stdio", flush=True)
    with ThreadPoolExecutor(len(SUITES)) as pool:
        sides = [
            pool.submit(conformance.run_suite, one, proxy.url("fixture"), folder / f"stdio-{number}", alice.key)
            for number, one in enumerate(SUITES)
        ]
    for one, first, side in zip(SUITES, direct, sides):
        group, outcome = f"conformance {one.name}, fixture on stdio", side.result()
        report.check(group, f"{one.scenarios} scenarios ran", len(outcome) == one.scenarios, f"{len(outcome)} ran")
        conformance.compare(report, group, "fixture", shared(first), shared(outcome))
        for scenario in APART.keys() & first.keys():
            differs = first[scenario] != outcome.get(scenario)
            report.check(group, f"{scenario} is still apart", differs, f"no longer: {APART[scenario]}")
    proxy.check_log(report, "log, conformance on stdio", [alice])
    proxy.process.stop()
