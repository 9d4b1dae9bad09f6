#!/usr/bin/env python3
"""How many instructions, and system calls, one request, one event and the start take: a guard against taking more.

    python3 tests/instructions.py [--runs N] [--write]      measure N times; make what was measured the budget
    python3 tests/instructions.py --profile header          which functions the instructions of one are in

Wants valgrind, and the debug binary or $CLOAKROOM_BIN; strace, where there is one. Takes about a minute.

Instructions are those of user space, of all threads, with everything on that `serve` has on by default. They do
not depend on how busy the machine is, but on the compiler and the profile, and a little on the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.dont_write_bytecode = True
from counted import house, traffic  # noqa: E402

# What one took when it was measured last, by the binary that `cargo test` leaves: what tests depend on switches
# features on, so that of `cargo build` takes a little other. `--write` sets them.
BUDGETS = {
    ("header", "instructions"): 113_100,
    ("argument", "instructions"): 119_100,
    ("event", "instructions"): 12_500,
    ("start", "instructions"): 16_628_300,
    ("header", "system calls"): 6.1,
    ("argument", "system calls"): 6.1,
    ("event", "system calls"): 3.0,
}
# How much more is too much, and how much less makes a budget that guards nothing any more.
ABOVE, BELOW = 1.10, 0.80
NAMES = {
    "header": "a request, its secret put into a header",
    "argument": "a request, its secret put into an argument",
    "event": "an event of a stream",
    "start": "the start, with the first request and the end",
}
# The server, what is sent to it, and how often: the second run less the first is that of so many, without the
# start and the end. These vary by a million, which next to events, being small, would show. A run less nothing is
# the start.
KINDS = {
    "header": ("header", traffic.calls, (300, 1_300)),
    "argument": ("argument", traffic.calls, (300, 1_300)),
    "event": ("header", traffic.events, (300, 5_300)),
    "start": ("header", traffic.calls, (0, 1)),
}
# Threads take turns, as on cores of their own, instead of one keeping the others out.
# No gdb wants to connect, whose pipes would stay behind in /tmp.
CALLGRIND = ["valgrind", "--quiet", "--tool=callgrind", "--fair-sched=yes", "--vgdb=no", "--callgrind-out-file=counted"]
# -D: the process we start, and later end, is the proxy; strace is its child.
STRACE = ["strace", "-D", "-f", "-c", "-U", "name,calls", "-o", "counted"]
TOOLS = {"instructions": CALLGRIND, "system calls": STRACE}
# What the thread of the audit trail, and who wakes it, call: how often goes by the clock.
BY_THE_CLOCK = {"futex", "write", "statx", "fcntl", "fsync", "clock_nanosleep", "restart_syscall", "total"}
SUMMARY = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)


def total(counted: Path) -> dict[str, int]:
    return {"total": int(re.search(r"^totals: (\d+)$", counted.read_text(errors="replace"), re.MULTILINE)[1])}


def calls_by_name(counted: Path) -> dict[str, int]:
    # It writes after the proxy has ended; the total is its last line.
    end = time.monotonic() + 10
    while "total" not in (calls := dict(SUMMARY.findall(counted.read_text()))) and time.monotonic() < end:
        time.sleep(0.02)
    return {name: int(count) for name, count in calls.items()}


def can_trace() -> bool:
    """Whether there is an strace, and the system lets it trace."""
    if not shutil.which("strace"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([*STRACE, "true"], cwd=folder, capture_output=True, check=False).returncode == 0


async def differences(home: house.House, kind: str, what: str, read: Callable[[Path], dict]) -> dict[str, float]:
    """What one of this kind takes, by whatever `read` finds in what the tool wrote."""
    server, send, (few, many) = KINDS[kind]
    found = []
    for count in (few, many):
        if not count:
            found.append({})
            continue
        counted = home.folder / "counted"
        counted.unlink(missing_ok=True)
        await home.serve(TOOLS[what], server, send, count)
        found.append(read(counted))
    return {name: (taken - found[0].get(name, 0)) / (many - few) for name, taken in found[1].items()}


async def measure(home: house.House, kind: str, what: str) -> float:
    if what == "instructions":
        return (await differences(home, kind, what, total))["total"]
    calls = await differences(home, kind, what, calls_by_name)
    return sum(count for name, count in calls.items() if name not in BY_THE_CLOCK)


def line_of(budget: tuple[str, str], figure: float) -> str:
    kind, what = budget
    rounded = f"{round(figure, -2):_.0f}" if what == "instructions" else f"{figure:.1f}"
    return f'    ("{kind}", "{what}"): {rounded},'


def judge(budget: tuple[str, str], figure: float) -> str | None:
    """What is wrong with it, in words for who changed something else and wants to know what to do now."""
    (kind, what), limit = budget, BUDGETS[budget]
    if limit * BELOW <= figure <= limit * ABOVE:
        return None
    line = f"write in tests/instructions.py (or run it with --write):\n{line_of(budget, figure)}"
    told = f"{NAMES[kind]}, takes {figure:,.1f} {what}, {abs(figure / limit - 1):.0%}"
    if figure < limit:
        return f"{told} less than the {limit:,} of its budget. Well done; so that it goes on guarding, {line}"
    look = f"To see where they go: python3 tests/instructions.py --profile {kind}"
    return f"{told} more than the {limit:,} of its budget.\n{look}\nIf it is worth that, {line}"


def write(figures: dict[tuple[str, str], float]) -> None:
    path = Path(__file__)
    text = path.read_text()
    for budget, figure in figures.items():
        text = re.sub(rf'^    \("{budget[0]}", "{budget[1]}"\): .*$', line_of(budget, figure), text, flags=re.MULTILINE)
    path.write_text(text)


async def count(home: house.House, runs: int, is_to_write: bool) -> int:
    wrong, figures = [], {}
    for budget in BUDGETS:
        kind, what = budget
        if what == "system calls" and not can_trace():
            print(f"left out  {kind}, {what}: strace is missing, or may not trace here", flush=True)
            continue
        found = [await measure(home, kind, what) for _ in range(runs)]
        figures[budget] = statistics.median(found)
        if not is_to_write and figures[budget] > BUDGETS[budget] * ABOVE:
            # What goes by the clock only adds, on a machine that is very slow: the lower one is nearer.
            figures[budget] = min(figures[budget], await measure(home, kind, what))
        judged = None if is_to_write else judge(budget, figures[budget])
        spread = f", of {runs} runs {min(found):,.1f} to {max(found):,.1f}" if runs > 1 else ""
        says = "FAILED" if judged else "ok"
        print(f"{says}  {kind}: {figures[budget]:,.1f} {what}{spread}; budget {BUDGETS[budget]:,}", flush=True)
        wrong += [judged] if judged else []
    for judged in wrong:
        print(f"\nWRONG {judged}")
    if is_to_write:
        write(figures)
        print("written")
    return 1 if wrong else 0


def by_function(counted: Path) -> dict[str, int]:
    line = ["callgrind_annotate", "--threshold=100", "--auto=no", str(counted)]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    # "12,345 ( 1.23%)  file:function [object]"; of the function's name the last is enough.
    found: dict[str, int] = {}
    for number, name in re.findall(r"^ *([\d,]+) (?:\([ \d.]+%\))? *\S*?:(\S.*?)(?: \[.*\])?$", said, re.MULTILINE):
        found[name] = found.get(name, 0) + int(number.replace(",", ""))
    return found


async def profile(home: house.House, kind: str) -> int:
    each = await differences(home, kind, "instructions", by_function)
    kept = house.ROOT / "target" / f"instructions-{kind}.callgrind"
    kept.parent.mkdir(exist_ok=True)
    shutil.move(home.folder / "counted", kept)
    print(f"{NAMES[kind]}, takes {sum(each.values()):,.0f} instructions, most of them in")
    show(each, 40)
    print(f"Who calls them, start and end with it:\n  callgrind_annotate --tree=caller --inclusive=yes {kept}")
    if can_trace():
        print("The system calls, those of the audit trail too:")
        show(await differences(home, kind, "system calls", calls_by_name), 12)
    return 0


def show(each: dict[str, float], most: int) -> None:
    for name, taken in sorted(each.items(), key=lambda of: -of[1])[:most]:
        print(f"{taken:12,.2f}  {name}")


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        async with traffic.Origin() as origin:
            home = await house.House(folder, origin).furnish()
            if options.profile:
                return await profile(home, options.profile)
            return await count(home, options.runs, options.write)


def main() -> int:
    described = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=described)
    options.add_argument("--runs", type=int, default=1, help="measure so often, and take the median")
    options.add_argument("--write", action="store_true", help="make what is measured the budget")
    options.add_argument("--profile", choices=KINDS)
    given = options.parse_args()
    if platform.machine() != "x86_64":
        print(f"left out: the budgets are of x86_64, not {platform.machine()}")
        return 0
    for needed in ("valgrind", house.BINARY):
        if not shutil.which(needed):
            print(f"WRONG {needed} is missing")
            return 1
    # Told to end, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return asyncio.run(run(given))
    except RuntimeError as error:
        print(f"WRONG it broke off: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
