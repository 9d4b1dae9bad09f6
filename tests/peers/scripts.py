"""Runs one client script and reads its report."""

from __future__ import annotations

import json
import os
import subprocess

from harness import HERE, MODULES, Report

TIMEOUT = 300


def run_client(report: Report, name: str, command: list, expected: int, peers: dict) -> None:
    """`command` is a program, then perhaps a script in clients/; it must tell `expected` checks."""
    group = f"client {name}"
    print(f"… {group}", flush=True)
    env = {**os.environ, "PEERS": json.dumps(peers), "PEER_MODULES": str(MODULES)}
    line = [str(command[0]), *(str(HERE / "clients" / script) for script in command[1:])]
    try:
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        report.check(group, "ends", False, f"still running after {TIMEOUT} s")
        return
    told = 0
    for text in done.stdout.splitlines():
        ok = text.startswith("ok ")
        if ok or text.startswith("not ok "):
            told += 1
            check, _, why = text.removeprefix("not ").removeprefix("ok ").partition(": " if not ok else "\0")
            report.check(group, check if ok else text.removeprefix("not ok "), ok)
    if told != expected or done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-15:])
        report.check(group, f"reports {expected} checks", False, f"{told} told, exit {done.returncode}\n{last}")
