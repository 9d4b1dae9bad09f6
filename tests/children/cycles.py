"""Children are started and stopped, hundreds of them, of the kinds that do not want to go."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter

from client import Client
from house import House, Together, below, wait_until

KINDS = {
    "forks": ("forks",),
    "deaf": ("deaf",),
    "lines": ("flood", "line"),
    "endless": ("flood", "endless"),
    "mute": ("mute", "", 'start_timeout = "300ms"'),
}
AT_ONCE = 6
IDLE = 50
# KiB of the proxy's own for each idle child, and for each cycle that is over.
CHILD, CYCLE = 100, 4
# Seconds after which the allocator has given back what is not used any more, of the start also.
SETTLED = 3


def cycle(house: House, user: str, kind: str, turn: int, wrong: list[str], codes: Counter) -> None:
    client = Client(house.port, house.key(user), f"/{kind}/mcp")
    try:
        begun = client.open()
        if kind == "mute":
            if not begun.error or begun.error["code"] != 5040:
                wrong.append(f"mute: {begun}")
            return
        floods = kind in ("lines", "endless")
        if floods and begun.error:
            # Its limits ended some before, and it rests.
            codes[begun.error["code"]] += 1
            return
        if not client.session:
            wrong.append(f"{kind}: {begun}")
            return
        if floods and turn % 50 < 5:
            answer = client.ask("ping")
            codes[(answer.error or {}).get("code")] += 1
        elif not floods:
            answer = client.ask("tools/list")
            if answer.error:
                wrong.append(f"{kind}: {answer}")
        if client.delete() != 200:
            wrong.append(f"{kind}: DELETE was refused")
    finally:
        client.close()


def churn(house: House, user: str, turns, wrong: list[str], codes: Counter, late: threading.Event) -> None:
    kinds = itertools.cycle(KINDS)
    for turn in turns:
        if late.is_set():
            return
        cycle(house, user, next(kinds), turn, wrong, codes)


def idle(wrong: list[str]) -> str:
    """What children cost the proxy that do nothing."""
    names = [f"idle{number}" for number in range(10)]
    with House({"one": ("who",)}, limits="user_children = 16") as house:
        house.add(names, ["one"])
        house.start()
        clients = [Client(house.port, house.key(names[at % 10]), "/one/mcp") for at in range(IDLE + 10)]
        for client in clients[:10]:
            client.open()
            client.call()
            client.close()
        time.sleep(SETTLED)
        before, threads, files = house.memory(), house.threads(), house.files()
        for client in clients[10:]:
            client.open()
            client.call()
            client.close()
        time.sleep(SETTLED)
        each, more = (house.memory() - before) / IDLE, house.threads() - threads
        opened = (house.files() - files) / IDLE
        count = len(house.tagged())
        if count != IDLE + 10:
            wrong.append(f"{count} children run instead of {IDLE + 10}")
        if each > CHILD:
            wrong.append(f"an idle child costs {each:.0f} KiB, more than {CHILD}")
        # Some of the store's, if none was idle just then.
        if more > 4:
            wrong.append(f"{IDLE} children cost {more} threads")
        # What was read by its client is of no use to anybody.
        for client in clients[10:]:
            for _ in range(70):
                client.call(fill=5000)
            client.close()
        time.sleep(SETTLED)
        used = (house.memory() - before) / IDLE
        if used > CHILD:
            wrong.append(f"an idle child that was used costs {used:.0f} KiB, more than {CHILD}")
        return f"an idle child costs {each:.0f} KiB of the proxy's own, {used:.0f} KiB after 70 answers of 5 kB, {opened:.0f} files"


def run(cycles: int = 1500, seconds: float = 180, **_) -> tuple[list[str], str]:
    wrong: list[str] = []
    costs = idle(wrong)
    users = [f"user{number}" for number in range(AT_ONCE)]
    codes: Counter = Counter()
    with House(KINDS, limits="user_children = 32\nchild_message = \"1MiB\"") as house:
        house.add(users, list(KINDS))
        house.start()
        turns, late = iter(range(cycles)), threading.Event()
        lock = threading.Lock()

        def shared():
            while True:
                with lock:
                    turn = next(turns, None)
                if turn is None:
                    return
                done.append(house.memory())
                yield turn

        done: list[int] = []
        began = time.monotonic()
        threads = Together()
        for user in users:
            threads.start(churn, house, user, shared(), wrong, codes, late)
        # Its time is what is left for the machine at hand; fewer cycles are said.
        wait_until(lambda: all(not thread.is_alive() for thread in threads.threads), seconds * 0.6, 0.1)
        late.set()
        wrong += threads.join(60)
        took = time.monotonic() - began
        left = lambda: house.below() or house.tagged()  # noqa: E731
        gone_after = time.monotonic()
        wait_until(lambda: not left(), 5)
        gone_after = time.monotonic() - gone_after
        for pid, stat in house.below().items():
            wrong.append(f"{pid} survived, state {stat.state}")
        for pid in house.tagged():
            wrong.append(f"{pid} survived: {open(f'/proc/{pid}/cmdline').read()!r}")
        zombies = [pid for pid, stat in below(house.pid).items() if stat.state == "Z"]
        if zombies:
            wrong.append(f"zombies: {zombies}")
        # The first part of it warms caches up, and the allocator.
        third = max(1, len(done) // 3)
        begin, end = sorted(done[third : 2 * third])[third // 2], sorted(done[-third:])[third // 2]
        slope = (end - begin) / third
        if slope > CYCLE and len(done) >= 90:
            wrong.append(f"every cycle leaves {slope:.1f} KiB in the proxy")
        files = house.files()
        if set(codes) - {5024, 5033} or not codes[5024]:
            wrong.append(f"floods were answered {dict(codes)}")
        return wrong, (
            f"{len(done)} cycles of {cycles} in {took:.0f} s; the last child was gone {gone_after:.1f} s later; memory of the "
            f"proxy {begin} KiB, then {end} KiB; {files} files; floods were answered {dict(codes)}; {costs}"
        )
