"""The proxy is killed, or told to stop: nobody is left."""

from __future__ import annotations

import signal
import threading
import time

from client import Client
from house import House, below, is_there, wait_until

FORKING = 20
# For those who come after the proxy to kill what it left.
BOUND = 5.0


def filled(house: House) -> dict:
    """All that runs below the proxy, once everybody has a child that forked twice."""
    names = [f"user{number}" for number in range(4)]
    house.add(names, ["forks", "one"])
    house.start()
    for number in range(FORKING):
        client = Client(house.port, house.key(names[number % 4]), "/forks/mcp")
        client.open()
        if not client.session:
            raise RuntimeError("a session does not begin")
    # A child, and the grandchild it has forked twice.
    if not wait_until(lambda: len(house.tagged()) >= 2 * FORKING, 10):
        raise RuntimeError(f"only {len(house.tagged())} processes run")
    return below(house.pid)


def left(house: House, processes: dict) -> list:
    return [pid for pid, stat in processes.items() if is_there(pid, stat)] + house.tagged()


def killed(wrong: list[str]) -> str:
    with House({"forks": ("forks",), "one": ("who",)}) as house:
        processes = filled(house)
        began = time.monotonic()
        house.process.kill()
        house.process.wait()
        wait_until(lambda: not left(house, processes), BOUND)
        took = time.monotonic() - began
        if survivors := left(house, processes):
            wrong.append(f"{BOUND:.0f} s after kill -9 of the proxy, these live: {survivors}")
        return f"{len(processes)} processes gone {took * 1000:.0f} ms after kill -9"


def supervisor_killed(wrong: list[str]) -> str:
    with House({"forks": ("forks",), "one": ("who",)}) as house:
        processes = filled(house)
        import os

        os.kill(house.supervisor(), signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: not left(house, processes), BOUND)
        took = time.monotonic() - began
        if survivors := left(house, processes):
            wrong.append(f"{BOUND:.0f} s after kill -9 of the supervisor, these live: {survivors}")
        again = Client(house.port, house.key("user0"), "/one/mcp")
        again.open()
        if not again.session or again.call().error:
            wrong.append("after kill -9 of the supervisor no child is started")
        return f"{took * 1000:.0f} ms after that of the supervisor"


def stopped(wrong: list[str]) -> str:
    with House({"forks": ("forks",), "one": ("who",)}) as house:
        processes = filled(house)
        client = Client(house.port, house.key("user0"), "/one/mcp")
        client.open()
        answers = []
        caller = threading.Thread(target=lambda: answers.append(client.call(nonce="last", wait=2)))
        caller.start()
        time.sleep(0.5)
        began = time.monotonic()
        house.process.send_signal(signal.SIGTERM)
        caller.join(20)
        if not answers or answers[0].error or answers[0].said["nonce"] != "last":
            wrong.append(f"a request under way at SIGTERM was answered {answers}")
        try:
            house.process.wait(15)
        except Exception:  # noqa: BLE001
            wrong.append("15 s after SIGTERM the proxy runs")
        wait_until(lambda: not left(house, processes), BOUND)
        took = time.monotonic() - began
        if survivors := left(house, processes):
            wrong.append(f"after SIGTERM, these live: {survivors}")
        return f"all gone {took:.1f} s after SIGTERM, with a request of 1.5 s under way"


def run(**_) -> tuple[list[str], str]:
    wrong: list[str] = []
    return wrong, "; ".join((killed(wrong), supervisor_killed(wrong), stopped(wrong)))
