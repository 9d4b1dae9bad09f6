"""Argument smuggling: no two parsers read two different requests in what the proxy forwards.

Some 2,000 hostile bodies, made up from a fixed seed, are sent through the real proxy to a server that
keeps the very bytes it gets. What is forwarded must say the same to Python (taking the first or the last
of two equal keys) and to Node, carry the user's own secret under the slot's name and under no other
spelling of it, and be else what the client sent, to the digit. What is refused must be refused with 400
and a JSON-RPC error, and must not reach the server. (That serde_json agrees too is tested where the
scanner is, in src/mcp/scan/agreement.rs.)

Fails when `close` in src/mcp/scan/keys.rs looks for duplicates in large objects only, and so not among
escaped keys; when `merge` in src/layer/splice.rs compares names with `==`; when `quote` in src/mcp/edit.rs
does not escape; when `known` in src/mcp/scan/envelope.rs lets a miscased field pass; when `call` in
src/layer/mirror.rs adds no header.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

from harness import Report
from proxy import Proxy, User

from .generate import ATTACKER, LIMITED, LIMITED_TOOL, SLOT, Case, cases
from .readers import Node, misspelt, read, same_name
from .recorder import Recorder, Seen

CASES = 2000
GROUP = "argument smuggling"
SERVER = "recorder"
# Quotes and what JSON must escape, and letters that a header must encode.
SECRETS = {name: f'own "{name}" \\ é😀 {secrets.token_hex(8)}' for name in ("ARGUMENT", "LIMITED")}
ARGUMENTS = f"""[servers.{SERVER}.arguments]
{SLOT} = "${{ARGUMENT}}"
{LIMITED} = {{ value = "${{LIMITED}}", tools = ["{LIMITED_TOOL}"] }}
"""


class Failures:
    """What went wrong, by the property that does not hold."""

    def __init__(self, properties: list[str]) -> None:
        self._found: dict[str, list[str]] = {name: [] for name in properties}

    def add(self, name: str, case: Case, why: str) -> None:
        self._found[name].append(f"case {case.number} ({', '.join(case.kinds)}): {why}; sent {case.body[:400]!r}")

    def tell(self, report: Report) -> None:
        for name, found in self._found.items():
            more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            report.check(GROUP, name, not found, f"{found[0]}{more}" if found else "")


FORWARDED_ONCE = "what is answered was forwarded once, as JSON with its length"
REFUSED = "what is refused gets 400 and a JSON-RPC error, and is not forwarded"
HARMLESS = "what only looks unusual is forwarded"
SAME = "Python, first key or last, and Node read the same in it"
FIELDS = "no field of the message is spelt in another case"
OWN = "the slots hold the user's own secrets, under no other spelling"
REST = "all else is as the client sent it"
HEADER = "the slot's header says what the body says"


def post(connection: HTTPConnection, user: User, case: Case) -> tuple[int, bytes]:
    headers = {
        "Authorization": f"Bearer {user.key}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "User-Agent": f"case/{case.number}",
        **case.headers,
    }
    connection.request("POST", f"/{SERVER}/mcp", case.body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def send_all(proxy: Proxy, user: User, all_cases: list[Case]) -> list[tuple[int, bytes]]:
    local = threading.local()

    def send(case: Case) -> tuple[int, bytes]:
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        return post(local.connection, user, case)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(send, all_cases))


def is_refusal(status: int, body: bytes) -> bool:
    try:
        told = messages(json.loads(body))
        errors = [one["error"]["code"] for one in told if one["jsonrpc"] == "2.0"]
        return status == 400 and len(told) == len(errors) > 0 and all(isinstance(code, int) for code in errors)
    except (ValueError, KeyError, TypeError):
        return False


def messages(value) -> list[dict]:
    return value if isinstance(value, list) else [value]


def slots_of(message: dict) -> dict[str, str]:
    """What the slots set in this message, by the config above."""
    if message.get("method") != "tools/call":
        return {}
    limited = {LIMITED: SECRETS["LIMITED"]} if message["params"]["name"] == LIMITED_TOOL else {}
    return {SLOT: SECRETS["ARGUMENT"], **limited}


def merged(message: dict) -> dict:
    """What the server should get for what the client sent."""
    slots = slots_of(message)
    if not slots:
        return message
    given = message["params"].get("arguments") or {}
    kept = {key: value for key, value in given.items() if not any(same_name(key, slot) for slot in slots)}
    return {**message, "params": {**message["params"], "arguments": {**kept, **slots}}}


def judge(case: Case, seen: Seen, node: Node, failures: Failures) -> None:
    """Everything that must hold of one body that was forwarded."""
    first, last = read(seen.body, last=False), read(seen.body, last=True)
    if not first == last == node.read(seen.body, like=last):
        failures.add(SAME, case, f"forwarded {seen.body!r}")
        return
    for message in messages(last):
        if wrong := misspelt(message):
            failures.add(FIELDS, case, f"{wrong!r} in {seen.body!r}")
        for slot, own in slots_of(message).items():
            spelt = [(key, value) for key, value in message["params"]["arguments"].items() if same_name(key, slot)]
            if spelt != [(slot, own)]:
                failures.add(OWN, case, f"{spelt} in {seen.body!r}")
    sent = read(case.body, last=True)
    wanted = [merged(message) for message in messages(sent)] if isinstance(sent, list) else merged(sent)
    if wanted != last:
        failures.add(REST, case, f"forwarded {seen.body!r}")
    if case.modern and isinstance(last, dict) and last.get("method") == "tools/call":
        encoded = "=?base64?" + base64.b64encode(SECRETS["ARGUMENT"].encode()).decode() + "?="
        if seen.all("mcp-param-token") != [encoded]:
            failures.add(HEADER, case, f"{seen.all('mcp-param-token')}")


def run(report: Report, binary: Path, folder: Path) -> None:
    print(f"… {GROUP}", flush=True)
    recorder = Recorder()
    proxy = Proxy(binary, folder / "smuggling", {SERVER: f'url = "{recorder.url}"\n{ARGUMENTS}'})
    user = proxy.add_user("alice", secrets=False)
    for name, value in SECRETS.items():
        proxy.command("secret", "set", user.name, SERVER, name, stdin=value)
    proxy.serve()
    all_cases = list(cases(CASES))
    answers = send_all(proxy, user, all_cases)
    failures = Failures([FORWARDED_ONCE, REFUSED, HARMLESS, SAME, FIELDS, OWN, REST, HEADER])
    forwarded = 0
    with Node() as node:
        for case, (status, body) in zip(all_cases, answers):
            seen = recorder.seen(f"case/{case.number}")
            if status in (200, 202):
                forwarded += 1
                if len(seen) != 1 or not seen[0].framed:
                    failures.add(FORWARDED_ONCE, case, f"{status}, and the server saw {len(seen)} requests")
                else:
                    judge(case, seen[0], node, failures)
            elif seen or not is_refusal(status, body):
                failures.add(REFUSED, case, f"{status} {body[:200]!r}, and the server saw {len(seen)} requests")
            if case.harmless and status not in (200, 202):
                failures.add(HARMLESS, case, f"{status} {body[:200]!r}")
    failures.tell(report)
    refused = len(all_cases) - forwarded
    harmless = sum(case.harmless for case in all_cases)
    attacks = sum(ATTACKER.encode() in case.body for case in all_cases)
    for what, count, least in (
        ("bodies were forwarded", forwarded, 700),
        ("bodies were refused", refused, 900),
        ("bodies were harmless", harmless, 250),
        ("bodies carried a value of the attacker's", attacks, 600),
    ):
        report.check(GROUP, f"at least {least} {what}", count >= least, f"{count} were")
    report.check(GROUP, "no header shows the client's key", not recorder.has_header_with(user.key))
    proxy.process.stop()
    log = (proxy.folder / "proxy.log").read_text(errors="replace")
    told = [name for name, value in SECRETS.items() if value.split()[-1] in log]
    report.check(GROUP, "the log shows no secret", not told, ", ".join(told))
    recorder.stop()
