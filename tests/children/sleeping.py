"""Sleep and waking, limits, and what makes a child end: what a client notices of each."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from client import Client, OldClient
from house import House, wait_until

SLEEP = 'sleep = "600ms"'
SERVERS = {
    "naps": ("who", "", SLEEP),
    "awake": ("who", "", 'sleep = "never"'),
    "new": ("who", "modern", SLEEP),
    "changes": ("changes", "", SLEEP),
    "picky": ("picky", "", SLEEP),
    "one": ("who",),
    "two": ("who",),
    "deaf": ("deaf",),
    "forks": ("forks",),
    "mute": ("mute", "", 'start_timeout = "500ms"'),
    "faints": ("mute", "once", SLEEP + '\nstart_timeout = "20s"'),
    "long": ("long",),
    "crash": ("crash",),
    "trips": ("crash", "later"),
    "warm": ("who", "", "prewarm = true"),
    "stays": ("deaf", "", "prewarm = true"),
    "asks": ("asks",),
}
ASLEEP = 6.0
# A child whose session is over is gone by then, whatever it does about it.
SOON = 1.0


class Case:
    """What the cases share: a house, and users of their own."""

    def __init__(self, house: House) -> None:
        self.house, self.clients = house, []
        self.wrong: list[str] = []

    def open(self, user: str, server: str, key: str | None = None) -> Client:
        client = Client(self.house.port, key or self.house.key(user), f"/{server}/mcp")
        self.clients.append(client)
        begun = client.open()
        if not client.session:
            raise RuntimeError(f"{server}: {begun}")
        return client

    def client(self, user: str, server: str) -> Client:
        client = Client(self.house.port, self.house.key(user), f"/{server}/mcp")
        self.clients.append(client)
        return client

    def check(self, is_so, what: str) -> bool:
        if not is_so:
            self.wrong.append(what)
        return bool(is_so)

    def gone(self, pid: int, seconds: float) -> float | None:
        """After how long a process was gone."""
        began = time.monotonic()
        if wait_until(lambda: not os.path.exists(f"/proc/{pid}"), seconds, 0.005):
            return time.monotonic() - began
        return None

    def pid(self, client) -> int:
        """The process that serves it. One without a tool that says so is looked for by who."""
        answer = client.call(heard=True)
        if answer.error:
            raise RuntimeError(f"{answer}")
        return answer.said["pid"]


def naps(case: Case) -> None:
    client = case.open("naps", "naps")
    client.ask("logging/setLevel", {"level": "warning"})
    pid = case.pid(client)
    case.check(case.gone(pid, ASLEEP), "a child does not sleep")
    said = client.call(heard=True).said
    case.check(said["pid"] != pid, "a child that sleeps answers")
    heard = ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"]
    case.check(said["heard"] == heard, f"after waking a child heard {said['heard']}")
    case.check(said["count"] == 1, "a child that woke counts on")
    # An open GET does not keep it awake.
    listener = Client(case.house.port, case.house.key("naps"), "/naps/mcp")
    listener.session = client.session
    response = listener.send({}, "GET")
    case.check(response.status == 200, f"GET: status {response.status}")
    case.check(case.gone(said["pid"], ASLEEP), "an open GET keeps a child awake")
    client.call()
    client.ask("resources/subscribe", {"uri": "a:1"})
    pid = case.pid(client)
    case.check(not case.gone(pid, 2), "a child with a subscription sleeps")
    client.ask("resources/unsubscribe", {"uri": "a:1"})
    case.check(case.gone(pid, ASLEEP), "a child whose subscription ended does not sleep")
    # A request under way keeps it awake, also a long one.
    answer = client.call(wait=2, nonce="long")
    case.check(not answer.error and answer.said["nonce"] == "long", f"a request longer than sleep: {answer}")
    client.delete()


def replays(case: Case) -> None:
    """A subscription and all before it, to a child that takes the place of one that was killed."""
    client = case.open("replays", "naps")
    client.ask("resources/subscribe", {"uri": "a:1"})
    os.kill(case.pid(client), signal.SIGKILL)
    time.sleep(0.3)
    heard = client.call(heard=True).said["heard"]
    wanted = ["initialize", "notifications/initialized", "resources/subscribe", "tools/call"]
    case.check(heard == wanted, f"the child after one that was killed heard {heard}")


def refused_subscription(case: Case) -> None:
    client = case.open("refused", "picky")
    case.check(client.ask("resources/subscribe", {"uri": "a:1"}).error, "a subscription was granted")
    case.check(asleep(case, "picky"), "a subscription the server refused keeps its child awake")


def cancelled(case: Case) -> None:
    """Who takes a request back waits for it no longer."""
    client = case.open("cancelled", "naps")
    pid = case.pid(client)
    other = Client(case.house.port, case.house.key("cancelled"), "/naps/mcp")
    other.session = client.session
    message = {"id": 77, "method": "tools/call", "params": {"name": "whoami", "arguments": {"wait": 100_000}}}
    threading.Thread(target=lambda: contextlib.suppress(Exception) and other.send(message), daemon=True).start()
    time.sleep(1)
    client.tell("notifications/cancelled", {"requestId": 77})
    case.check(case.gone(pid, ASLEEP), "a request that was taken back keeps its child awake")
    other.close()


def asleep(case: Case, server: str, seconds: float = ASLEEP) -> bool:
    """Whether no child of this server runs."""
    return wait_until(lambda: not case.house.tagged(server), seconds)


def carriage_returns(case: Case) -> None:
    client = case.open("returns", "picky")
    answer = client.call()
    case.check(answer.message.get("result") and len(answer.events) == 1, f"carriage returns in a message: {answer}")
    client.delete()


def old(case: Case) -> None:
    """The same by HTTP+SSE."""
    client = OldClient(case.house.port, case.house.key("old"), "/naps/sse")
    client.open()
    pid = case.pid(client)
    case.check(case.gone(pid, ASLEEP), "HTTP+SSE: a child does not sleep")
    said = client.call(heard=True).said
    case.check(said["heard"] == ["initialize", "notifications/initialized", "tools/call"], f"HTTP+SSE: {said['heard']}")
    client.close()
    took = case.gone(said["pid"], 3)
    case.check(took is not None and took < SOON + 0.5, f"HTTP+SSE: the stream ended, its child {took} s later")


def modern(case: Case) -> None:
    client = case.client("modern", "new")
    client.is_modern = True
    pid = case.pid(client)
    case.check(case.gone(pid, ASLEEP), "2026-07-28: a child does not sleep")
    status, events = client.stream(client.message("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a"]}}, 0))
    next(events)
    other = case.client("modern", "new")
    other.is_modern = True
    pid = case.pid(other)
    case.check(not case.gone(pid, 2), "2026-07-28: a child that is listened to sleeps")
    with contextlib.suppress(Exception):
        client.connection.sock.shutdown(2)
    events.close()
    client.close()


def taken_back(case: Case) -> None:
    """Two clients of one user use the same ids: what one takes back is not the other's."""
    one, two = case.client("back", "new"), case.client("back", "new")
    one.is_modern = two.is_modern = True
    one.call()
    answers = []
    caller = threading.Thread(target=lambda: answers.append(one.call(number=5, wait=1, nonce="kept")))
    caller.start()
    time.sleep(0.4)
    cancelled = two.message("notifications/cancelled", {"requestId": 5}, 0)
    del cancelled["id"]
    two.send(cancelled).read()
    caller.join(10)
    heard = one.call(heard=True).said["heard"]
    case.check(answers and not answers[0].error and answers[0].said["nonce"] == "kept", f"another took a request back: {answers}")
    case.check("notifications/cancelled" not in heard, "2026-07-28: one client cancels the request of another, with the same id")


def never(case: Case) -> None:
    client = case.open("never", "awake")
    pid = case.pid(client)
    case.check(not case.gone(pid, 2), "sleep = \"never\", and a child sleeps")
    # Nor may it make room for others.
    others = [case.open("never", "one") for _ in range(4)]
    for other in others:
        other.call()
    case.check(os.path.exists(f"/proc/{pid}"), "sleep = \"never\", and a child was put to sleep for another")


def other_capabilities(case: Case) -> None:
    client = case.open("changes", "changes")
    client.ask("ping")
    case.check(asleep(case, "changes"), "a child does not sleep")
    answer = client.ask("ping")
    case.check(answer.status == 404 and answer.error, f"a server with other capabilities after waking: {answer}")


def changed_secret(case: Case) -> None:
    client = case.open("secret", "one")
    before = client.call().said
    case.house.set("secret", "one")
    wait_until(lambda: client.call().said["fingerprint"] != before["fingerprint"], 5)
    after = client.call(heard=True).said
    case.check(after["fingerprint"] != before["fingerprint"] and after["pid"] != before["pid"], "a secret changed, its child did not")
    case.check(case.gone(before["pid"], 5), "a child with the secret from before lives on")


def answers_the_one_before(case: Case) -> None:
    """A child with an earlier secret waits for its client's answer, and gets it."""
    client = case.open("asked", "asks")
    other = case.client("asked", "asks")
    other.session = client.session
    call = other.message("tools/call", {"name": "whoami", "arguments": {}}, 7)
    _, events = other.stream(call)
    question = next(events)
    before = newest(case, "asks")
    case.house.set("asked", "asks")
    replaced = wait_until(lambda: client.ask("ping").error or len(case.house.tagged("asks")) == 2, 5)
    case.check(replaced, "a secret changed, and no other child is started")
    client.send({"id": question["id"], "result": {"roots": []}}).read()
    answer = next(events)
    case.check(answer.get("id") == 7 and f'"pid": {before}' in str(answer).replace('\\', ""), f"answered to the child before: {answer}")


def ends(case: Case) -> None:
    """What ends a session ends its child, within a second, or two when it is deaf to SIGTERM."""
    house = case.house

    def timed(what: str, user: str, act, server: str = "one", client: Client | None = None) -> None:
        client = client or case.open(user, server)
        pid = case.pid(client) if server == "one" else newest(case, server)
        act(client)
        took = case.gone(pid, 4)
        case.check(took is not None and took < (2 * SOON if server == "deaf" else SOON), f"{what}: its child was gone after {took} s")

    second = house.command("key", "issue", "ends1", "--name", "second")
    client = case.open("ends1", "one", second["key"])
    timed("key revoke", "ends1", lambda _: house.command("key", "revoke", second["id"]), client=client)
    case.check(client.call().status == 401, "a revoked key is served")
    timed("user disable", "ends2", lambda _: house.command("user", "disable", "ends2"))
    timed("DELETE", "ends4", lambda client: client.delete())
    timed("DELETE, TERM ignored", "ends4", lambda client: client.delete(), server="deaf")
    client = case.open("ends3", "one")
    folder = home(case.pid(client))
    timed("user delete", "ends3", lambda _: house.command("user", "delete", "ends3", "--yes"), client=client)
    case.check(wait_until(lambda: not os.path.exists(folder), 5), "a user was deleted, his private folder is there")
    # Two keys: the one that still stands keeps the session.
    second = house.command("key", "issue", "ends5", "--name", "second")
    client = case.open("ends5", "one")
    other = Client(house.port, second["key"], "/one/mcp")
    other.session = client.session
    pid = case.pid(other)
    house.command("key", "revoke", second["id"])
    case.check(not case.gone(pid, 1), "one of two keys fell, and the session with it")
    case.check(not client.call().error, "one of two keys fell, and the session with it")


def home(pid: int) -> str:
    with open(f"/proc/{pid}/environ") as file:
        return next(word[5:] for word in file.read().split("\0") if word.startswith("HOME="))


def newest(case: Case, server: str) -> int:
    return max(case.house.tagged(server))


def ends_while_replaced(case: Case) -> None:
    """A key falls while a child with an earlier secret still has a request to finish."""
    house = case.house
    client = case.open("replaced", "one")
    pid = case.pid(client)
    other = Client(house.port, house.key("replaced"), "/one/mcp")
    other.session = client.session
    threading.Thread(target=lambda: contextlib.suppress(Exception) and other.call(wait=60), daemon=True).start()
    time.sleep(0.3)
    house.set("replaced", "one")
    wait_until(lambda: client.call().said["pid"] != pid, 5)
    case.check(os.path.exists(f"/proc/{pid}"), "a child was cut off in the middle of a request, because a secret changed")
    house.command("key", "revoke", house.users["replaced"]["id"])
    took = case.gone(pid, 8)
    case.check(took is not None and took < SOON, f"key revoke, while a replaced child finishes: it was gone after {took} s")


def ends_while_waking(case: Case) -> None:
    """A key falls while a child is being woken that does not answer."""
    house = case.house
    client = case.open("faints", "faints")
    client.ask("ping")
    asleep(case, "faints")
    threading.Thread(target=lambda: contextlib.suppress(Exception) and client.ask("ping"), daemon=True).start()
    wait_until(lambda: not asleep(case, "faints", 0), 3)
    pid = newest(case, "faints")
    time.sleep(0.3)
    house.command("key", "revoke", house.users["faints"]["id"])
    took = case.gone(pid, 8)
    case.check(took is not None and took < SOON, f"key revoke, while a child wakes: it was gone after {took} s")


def ends_started_ahead(case: Case) -> None:
    """What was started for somebody who has no key any more."""
    client = case.open("warm", "warm")
    client.call()
    case.check(wait_until(lambda: len(case.house.tagged("warm")) == 2, 5), "prewarm = true, and no child is started ahead")
    ahead = next(pid for pid in case.house.tagged("warm") if pid != case.pid(client))
    second = case.open("warm", "warm")
    case.check(case.pid(second) == ahead, "a session does not take the child that was started ahead")
    wait_until(lambda: len(case.house.tagged("warm")) == 3, 5)
    client.delete()
    second.delete()
    wait_until(lambda: len(case.house.tagged("warm")) == 1, 5)
    case.house.command("key", "revoke", case.house.users["warm"]["id"])
    took = wait_until(lambda: not case.house.tagged("warm"), SOON)
    case.check(took, "key revoke: a child that was started ahead lives on with the user's secret")


def ends_stubborn_spare(case: Case) -> None:
    """The same, while a session goes on, and it ends for nothing less than SIGKILL."""
    case.open("stays", "stays")
    case.check(wait_until(lambda: len(case.house.tagged("stays")) == 2, 5), "prewarm = true, and no child is started ahead")
    case.house.command("key", "revoke", case.house.users["stays"]["id"])
    took = wait_until(lambda: not case.house.tagged("stays"), SOON)
    case.check(took, "key revoke: a child that was started ahead, and hears nothing, lives on")


def large_initialize(case: Case) -> None:
    """What sessions that sleep keep of their clients is bounded."""
    before = case.house.memory()
    for _ in range(40):
        client = case.client("large", "one")
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x" * 3_000_000, "version": "1"}}
        client.ask("initialize", params)
        client.close()
    # Kept, they would take 120 MiB; the allocator gives back what is not, but not all of it at once.
    more = (case.house.memory() - before) >> 10
    case.check(more < 60, f"40 sessions with an `initialize` of 3 MB each keep {more} MiB of the proxy's memory")


def caps(case: Case) -> None:
    """Of a user: user_children is 4."""
    clients = [case.open("caps", "one") for _ in range(4)]
    pids = [case.pid(client) for client in clients]
    clients[0].call()
    fifth = case.open("caps", "one")
    fifth.call()
    case.check(case.gone(pids[1], 6), "for one child too many, the one unused for longest does not sleep")
    case.check(os.path.exists(f"/proc/{pids[0]}"), "for one child too many, one that was just used sleeps")
    case.check(not clients[1].call().error, "a session whose child made room does not go on")
    # All at work.
    clients = [case.open("busy", "one") for _ in range(4)]
    for client in clients:
        threading.Thread(target=lambda c=client: contextlib.suppress(Exception) and c.call(wait=4), daemon=True).start()
    time.sleep(0.8)
    refused = case.client("busy", "one").open()
    error = refused.error or {}
    case.check("user_children" in error.get("message", ""), f"one child too many: {refused}")
    case.check(refused.message.get("id") == 0, f"one child too many: {refused}")


def caps_race(case: Case) -> None:
    """Sessions that take turns to sleep for each other lose no request."""
    clients = [case.open("race", server) for server in ("one", "two") * 3]
    failed = []

    def work(client):
        for _ in range(12):
            answer = client.call()
            if answer.error and "user_children" not in answer.error["message"]:
                failed.append(answer.error["message"])

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    case.check(not failed, f"{len(failed)} of 72 calls failed while sessions made room for each other, such as: {failed[:1]}")


def start_timeout(case: Case) -> None:
    began = time.monotonic()
    error = case.client("mute", "mute").open().error or {}
    took = time.monotonic() - began
    case.check("start_timeout" in error.get("message", "") and took < 3, f"start_timeout: {error} after {took:.1f} s")
    case.check(asleep(case, "mute"), "a child that never answers lives on")


def message_limit(case: Case) -> None:
    """child_message is 1 MiB."""
    client = case.open("long", "long")
    case.check(not client.call(bytes=900_000).error, "a message below child_message is refused")
    error = client.call(bytes=1_100_000).error or {}
    case.check("child_message" in error.get("message", ""), f"a message above child_message: {error}")
    case.check(not client.call(bytes=10).error, "after a message that was too long, the session does not go on")


def crashes(case: Case) -> None:
    """Who crashes is told so with the server's last words, and then when it is tried again."""
    secret = case.house.set("crash", "crash")
    errors = []
    for _ in range(4):
        begun = case.client("crash", "crash").open()
        errors.append((begun.error or {}).get("message", f"{begun}"))
        time.sleep(0.1)
    last_words(case, "at its start", errors[0], secret)
    case.check(" s:" in errors[-1] and "again in" in errors[-1], f"a crash loop: {errors[-1]}")
    last_words(case, "when it rests", errors[-1], secret)
    secret = case.house.set("crash", "trips")
    error = (case.open("crash", "trips").call().error or {}).get("message", "")
    last_words(case, "in a call", error, secret)
    log = (case.house.folder / "log").read_bytes()
    case.check(secret.encode() not in log, "standard error in the log has a secret in it")
    case.check(b"\x1b[2J" not in log and b"\x07" not in log, "standard error in the log has control characters in it")
    # Another secret is another beginning.
    case.house.set("crash", "crash")
    wait_until(lambda: "again in" not in case.client("crash", "crash").open().message["error"]["message"], 5, 0.2)
    error = case.client("crash", "crash").open().error or {}
    case.check("ended" in error.get("message", ""), f"after a change of secret, a crash loop: {error}")


def last_words(case: Case, when: str, error: str, secret: str) -> None:
    case.check("last words" in error, f"a crash {when} says nothing of standard error: {error!r}")
    case.check(secret not in error, f"a crash {when}: the client is told a secret on standard error")
    case.check(not any(ord(c) < 32 or ord(c) == 127 for c in error), f"a crash {when}: control characters in {error!r}")


def crash_of_another(case: Case) -> None:
    """One user's child crashes when it is asked what it speaks; another's need not."""
    secret = case.client("poison", "flaky")
    secret.is_modern = True
    case.check(secret.call().error, "a child that crashes answers")
    client = case.client("healthy", "flaky")
    client.is_modern = True
    answer = client.call()
    case.check(not answer.error, f"2026-07-28: after another user's child crashed, a user is refused: {answer}")


def in_all(wrong: list[str]) -> None:
    """Of all: children is 3."""
    with House({"one": ("who",)}, limits="children = 3\nuser_children = 3") as house:
        house.add(["a", "b"], ["one"])
        case = Case(house.start())
        clients = [case.open("a", "one") for _ in range(3)]
        for client in clients[1:]:
            threading.Thread(target=lambda c=client: contextlib.suppress(Exception) and c.call(wait=8), daemon=True).start()
        pid = case.pid(clients[0])
        time.sleep(0.5)
        mine = case.open("b", "one")
        case.check(case.gone(pid, 6), "limits.children: the one that was idle does not sleep")
        threading.Thread(target=lambda: contextlib.suppress(Exception) and mine.call(wait=8), daemon=True).start()
        time.sleep(0.5)
        error = case.client("b", "one").open().error or {}
        case.check("limits.children" in error.get("message", ""), f"all children at work: {error}")
        wrong += case.wrong


def sessions_in_all(wrong: list[str]) -> None:
    """Of all: child_sessions is 3. Whoever has a child is not forgotten for others."""
    with House({"one": ("who",)}, limits="children = 2\nuser_children = 2\nchild_sessions = 3") as house:
        house.add(["a", "b", "c", "d"], ["one"])
        case = Case(house.start())
        first, second, third, fourth = (case.open(name, "one") for name in "abcd")
        case.check(first.call().status == 404, "limits.child_sessions: the one asleep longest is not forgotten")
        for client in (second, third, fourth):
            answer = client.call()
            case.check(not answer.error, f"limits.child_sessions: another is forgotten: {answer}")
        case.check(not case.open("a", "one").call().error, "a client whose session was forgotten cannot begin anew")
        wrong += case.wrong


CASES = (
    naps, replays, refused_subscription, cancelled, carriage_returns, old, modern, taken_back, never, other_capabilities,
    changed_secret, answers_the_one_before, ends, ends_while_replaced, ends_while_waking, ends_started_ahead, ends_stubborn_spare, large_initialize, caps, caps_race, start_timeout, message_limit, crashes,
    crash_of_another,
)
USERS = {
    "naps": ["naps"], "replays": ["naps"], "refused": ["picky"], "cancelled": ["naps"], "returns": ["picky"], "old": ["naps"],
    "modern": ["new"], "back": ["new"], "never": ["awake", "one"], "changes": ["changes"], "secret": ["one"], "ends1": ["one"],
    "ends2": ["one"], "ends3": ["one"], "ends4": ["one", "deaf"], "ends5": ["one"], "replaced": ["one"],
    "faints": ["faints"], "warm": ["warm"], "stays": ["stays"], "asked": ["asks"], "large": ["one"], "caps": ["one"], "busy": ["one"], "race": ["one", "two"], "mute": ["mute"], "long": ["long"],
    "crash": ["crash", "trips"], "poison": ["flaky"], "healthy": ["flaky"],
}


def run(**_) -> tuple[list[str], str]:
    wrong: list[str] = []
    # Who has this secret crashes at once.
    servers = SERVERS | {"flaky": ("flaky", "modern")}
    with House(servers, limits='user_children = 4\nchild_message = "1MiB"') as house:
        for name, of in USERS.items():
            house.add([name], of)
        house.set("poison", "flaky", value="poison")
        house.start()
        for what in CASES:
            case = Case(house)
            try:
                what(case)
            except Exception as error:  # noqa: BLE001
                case.wrong.append(f"it broke off: {error!r}")
            wrong += [f"{what.__name__}: {said}" for said in case.wrong]
            for client in case.clients:
                client.close()
    alone = (in_all, sessions_in_all)
    for what in alone:
        try:
            what(wrong)
        except Exception as error:  # noqa: BLE001
            wrong.append(f"{what.__name__}: it broke off: {error!r}")
    return wrong, f"{len(CASES) + len(alone)} cases"
