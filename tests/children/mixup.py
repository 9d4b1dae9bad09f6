"""Everybody calls the same server at once with equal ids: does every answer carry its caller's own secret?

Secrets change meanwhile, clients hang up, and children are killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter

from client import Client, OldClient
from house import House, Together, words_of

# How long an answer may still carry the secret from before, in seconds: until the proxy learns of a change.
WINDOW = 5.0
USERS = 20
# What a client is told whose child was killed, which only happens to every fifth user.
KILLED = {5023, 5033}


class Known(House):
    """A house that remembers which fingerprint each secret has had, and since when."""

    def __init__(self, *given, **more) -> None:
        super().__init__(*given, **more)
        self.whose: dict[str, tuple] = {}
        self.since: dict[tuple, list] = {}

    def note(self, name, server, profile, value, before):
        own = hashlib.sha256(value.encode()).hexdigest()
        self.whose[own] = (name, server, profile)
        self.since.setdefault((name, server, profile), []).append((before, time.monotonic(), own))

    def allowed(self, owner: tuple, asked: float) -> set[str]:
        """What a request of `asked` may be answered with now."""
        all_of = self.since[owner]
        ended = [after for _, after, _ in all_of[1:]] + [float("inf")]
        return {own for (_, _, own), until in zip(all_of, ended) if until + WINDOW >= asked}


class Tally:
    def __init__(self, house: Known) -> None:
        self.house = house
        self.lock = threading.Lock()
        self.answers, self.aborted, self.heard = 0, 0, 0
        self.wrong: list[str] = []
        self.errors: Counter = Counter()
        self.took: list[float] = []

    def fail(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)

    def judge(self, owner: tuple, nonce: str, asked: float, number, answer, is_victim: bool) -> dict | None:
        """Whether this is the answer to that question; what it says, if it is."""
        with self.lock:
            self.answers += 1
            self.took.append(time.monotonic() - asked)
        if answer.message.get("id") != number:
            self.fail(f"{owner}: id {answer.message.get('id')!r} instead of {number}, status {answer.status}: {answer.message}")
            return None
        if answer.error:
            code = answer.error.get("code")
            with self.lock:
                self.errors[code] += 1
            if not (is_victim and code in KILLED):
                self.fail(f"{owner}: status {answer.status}, {answer.error}")
            return None
        said = answer.said
        found = self.house.whose.get(said["fingerprint"])
        if found != owner:
            self.fail(f"MIX-UP: {owner} was answered with the secret of {found}")
        elif said["fingerprint"] not in self.house.allowed(owner, asked):
            self.fail(f"{owner} was answered with a secret replaced more than {WINDOW} s before")
        if said["nonce"] != nonce:
            self.fail(f"MIX-UP: {owner} asked {nonce} and was answered {said['nonce']}")
        for event in answer.events:
            if (params := event.get("params", {})).get("message") != f"{said['fingerprint']} {nonce}":
                self.fail(f"MIX-UP: {owner} heard {params} while it asked {nonce}")
            with self.lock:
                self.heard += 1
        return said


class Rate:
    """So many calls in all, taken by whoever is ready."""

    def __init__(self, calls: int) -> None:
        self.left, self.lock = calls, threading.Lock()

    def take(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left >= 0


def in_session(house: Known, tally: Tally, rate: Rate, owner: tuple, which: str, is_victim: bool) -> None:
    name, server, profile = owner
    path = f"/{server}/mcp" if profile == "default" else f"/{server}/@{profile}/mcp"
    chance = random.Random(f"{owner} {which}")
    client, counts = None, itertools.count()
    while rate.take():
        if client is None:
            client = Client(house.port, house.key(name), path)
            begun = client.open()
            if not client.session:
                if not (is_victim and begun.error and begun.error["code"] in KILLED):
                    tally.fail(f"{owner}: initialize: {begun}")
                client = None
                time.sleep(0.2)
                continue
        nonce, number = f"{which} {next(counts)}", next(client.numbers)
        wait = chance.choice((0, 0, 0, 0.002, 0.01, 0.03))
        if chance.random() < 0.05:
            client.abort(nonce=nonce, wait=wait)
            tally.aborted += 1
            continue
        meta = {"progressToken": 0} if chance.random() < 0.2 else None
        asked = time.monotonic()
        answer = client.call(number, meta, nonce=nonce, wait=wait)
        tally.judge(owner, nonce, asked, number, answer, is_victim)
        if answer.error:
            time.sleep(0.2)
        if chance.random() < 0.005:
            client.delete()
            client = None
    if client:
        client.delete()


def by_stream(house: Known, tally: Tally, rate: Rate, owner: tuple, which: str, is_victim: bool) -> None:
    name, server, _ = owner
    client, counts = None, itertools.count()
    while rate.take():
        if client is None:
            client = OldClient(house.port, house.key(name), f"/{server}/sse")
            if client.open().error:
                client.close()
                client = None
                time.sleep(0.2)
                continue
        nonce, number = f"{which} {next(counts)}", None
        asked = time.monotonic()
        answer = client.call(nonce=nonce)
        tally.judge(owner, nonce, asked, answer.message.get("id"), answer, is_victim)
        if answer.error:
            time.sleep(0.2)
    if client:
        client.close()


def at_once(house: Known, tally: Tally, rate: Rate, owner: tuple, which: str, pids: set) -> None:
    """One of the clients of a user, all of which one child serves (MCP 2026-07-28)."""
    name, server, _ = owner
    client = Client(house.port, house.key(name), f"/{server}/mcp")
    client.is_modern = True
    chance = random.Random(which)
    for turn in itertools.count():
        if not rate.take():
            return
        # Equal ids and tokens for all: 0, 1, 2 and so on.
        nonce, number = f"{which} {turn}", turn
        wait = chance.choice((0, 0.005, 0.02))
        if chance.random() < 0.05:
            client.abort(nonce=nonce, wait=wait)
            tally.aborted += 1
            continue
        asked = time.monotonic()
        answer = client.call(number, {"progressToken": 0}, nonce=nonce, wait=wait)
        said = tally.judge(owner, nonce, asked, number, answer, False)
        if said:
            pids.add((said["pid"], said["fingerprint"]))


def subscribed(house: Known, tally: Tally, owner: tuple, which: str, over: threading.Event, heard: Counter) -> None:
    """Hears of changes for as long as it goes on; after a change of secret it has to ask again."""
    name, server, _ = owner
    while not over.is_set():
        client = Client(house.port, house.key(name), f"/{server}/mcp")
        client.is_modern = True
        wanted = {"notifications": {"resourceSubscriptions": [f"of:{which}"]}}
        asked = time.monotonic()
        status, events = client.stream(client.message("subscriptions/listen", wanted, 0))
        if status != 200:
            tally.fail(f"{owner}: subscriptions/listen: status {status}")
        for event in events:
            if "error" in event:
                tally.fail(f"{owner}: subscriptions/listen: {event}")
                break
            params = event.get("params", {})
            if params.get("_meta", {}).get("io.modelcontextprotocol/subscriptionId") != 0:
                tally.fail(f"MIX-UP: {owner} listens by id 0 and heard {event}")
            if uri := params.get("uri"):
                named, _, fingerprint = uri.rpartition("/")
                if named != f"of:{which}" or house.whose.get(fingerprint) != owner:
                    tally.fail(f"MIX-UP: {owner} listens to {which} and heard {uri}")
                heard[which] += 1
            if over.is_set():
                break
        if time.monotonic() - asked < 0.1:
            time.sleep(0.1)
        client.close()


def rotate(house: Known, owners: list[tuple], over: threading.Event) -> None:
    for name, server, profile in itertools.cycle(owners):
        if over.wait(0.5):
            return
        house.set(name, server, profile)


def kill(house: Known, victims: set[str], over: threading.Event, killed: list) -> None:
    """Kills a child of a victim now and then."""
    home = str(house.folder)
    ids = {house.command("user", "show", name)["id"] for name in victims}
    while not over.wait(0.7):
        found = []
        for pid in house.below():
            try:
                with open(f"/proc/{pid}/environ") as file:
                    own = [word for word in file.read().split("\0") if word.startswith("HOME=" + home)]
            except OSError:
                continue
            if own and any(user in own[0] for user in ids) and house.tag in words_of(pid):
                found.append(pid)
        if found:
            # It may have ended since.
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(found), signal.SIGKILL)
                killed.append(1)


def run(calls: int = 10_000, seconds: float = 240, **_) -> tuple[list[str], str]:
    names = [f"user{number:02}" for number in range(USERS)]
    victims = set(names[::5])
    with Known({"one": ("who",), "new": ("who", "modern")}, limits="children = 256\nuser_children = 16") as house:
        house.add(names, ["one"], ("default", "work"))
        modern = names[1:5]
        house.add_secrets(modern, "new")
        house.start()
        tally, rate, over = Tally(house), Rate(calls), threading.Event()
        callers, others = Together(), Together()
        for at, name in enumerate(names):
            victim = name in victims
            callers.start(in_session, house, tally, rate, (name, "one", "default"), f"{name}/a", victim)
            if at % 2 == 0:
                callers.start(in_session, house, tally, rate, (name, "one", "default"), f"{name}/b", victim)
            if at % 3 == 0:
                callers.start(in_session, house, tally, rate, (name, "one", "work"), f"{name}/w", victim)
            if at % 4 == 0:
                callers.start(by_stream, house, tally, rate, (name, "one", "default"), f"{name}/s", victim)
        pids: dict[str, set] = {name: set() for name in modern}
        heard: Counter = Counter()
        for name in modern:
            for client in range(3):
                owner, which = (name, "new", "default"), f"{name}/m{client}"
                callers.start(at_once, house, tally, rate, owner, which, pids[name])
                others.start(subscribed, house, tally, owner, which, over, heard)
        owners = [(name, server, profile) for name, server, profile in house.since if server == "one" or name in modern[:2]]
        random.Random(1).shuffle(owners)
        killed: list = []
        others.start(rotate, house, owners, over)
        others.start(kill, house, victims, over, killed)
        began = time.monotonic()
        wrong = callers.join(seconds)
        took = time.monotonic() - began
        over.set()
        wrong += others.join(15)
        rotated = sum(len(all_of) - 1 for all_of in house.since.values())
        for name in modern:
            for own in {fingerprint for _, fingerprint in pids[name]}:
                if len(of := {pid for pid, fingerprint in pids[name] if fingerprint == own}) > 1:
                    wrong.append(f"{name}: children {of} served one version of the secrets, MCP 2026-07-28")
            for client in range(3):
                if not heard[f"{name}/m{client}"]:
                    wrong.append(f"{name}/m{client} was told of no change")
        if not rotated or not killed or not tally.aborted:
            wrong.append(f"nothing happened meanwhile: {rotated} rotations, {len(killed)} kills, {tally.aborted} aborts")
        middle = sorted(tally.took)[len(tally.took) // 2] * 1000
        figures = (
            f"{tally.answers} answers in {took:.0f} s, the middle one after {middle:.1f} ms; {tally.heard} notifications; "
            f"{sum(heard.values())} changes heard; {rotated} rotations, {len(killed)} children killed, {tally.aborted} "
            f"hung up; errors of those who were killed: {dict(tally.errors)}"
        )
        mixed = [what for what in tally.wrong if what.startswith("MIX-UP")]
        wrong += [f"{len(mixed)} answers went to somebody else"] if mixed else []
        wrong += mixed[:5] + [what for what in tally.wrong if what not in mixed][:8]
        if len(tally.wrong) > len(mixed) + 8:
            wrong.append(f"and {len(tally.wrong) - len(mixed) - 8} more")
        return wrong, figures
