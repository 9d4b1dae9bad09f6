"""The machine: its processors, limits and versions."""

import datetime
import os
import platform
import re
import resource
import subprocess
import time
from pathlib import Path

PROXY, LOAD = 0, 1
"""The processors in mode "two cores": the proxy has the first alone."""


def pins(mode):
    """The processors of the proxy, and those of load and origin."""
    if mode == "one":
        return {PROXY}, {PROXY}
    if mode == "two":
        return {PROXY}, {LOAD}
    return {PROXY, LOAD}, {PROXY, LOAD}


def raise_limits():
    """Every process may have as many file descriptors as this one may give."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def busy_seconds():
    """What all processors have worked since the start, and what the hypervisor took from them."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:]]
    user, nice, system, _, _, irq, soft, steal = ticks[:8]
    hertz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft) / hertz, steal / hertz


def others(seconds=0.5):
    """The part of a core that is used while we do nothing."""
    before = sum(busy_seconds())
    time.sleep(seconds)
    return (sum(busy_seconds()) - before) / seconds


def cpu_seconds(pids):
    """The CPU time of all threads of these processes."""
    total = 0
    for pid in pids:
        folder = f"/proc/{pid}/task"
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def describe():
    """What the figures depend on besides the proxies."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "tcp": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }


def processor():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def version(command):
    """The number in what a program says of its version; some say it on standard error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
    return found.group() if found else "unknown"
