"""One measurement: an origin, a proxy and the load, each new, on their processors."""

import json
import socket
import ssl
import subprocess
import time

from . import machine
from .processes import Processes, free_port
from .tools import find, install

READY_WITHIN = 20.0

DISTURBED = 0.15
"""The part of a core that may go to others than proxy, load and origin: some goes to starting the load."""


# Seconds after its first answer until a proxy is at rest.
AT_REST = 2.0


class Invalid(Exception):
    """What came out is no measurement, and why."""


def measure_quietly(patience, *what):
    """Measures when nobody else works, and again when somebody did, for so many seconds; then as it is."""
    until = time.monotonic() + patience
    while True:
        while machine.others() > DISTURBED and time.monotonic() < until:
            pass
        found = measure(*what)
        if found.get("others", 0) <= DISTURBED or time.monotonic() >= until:
            return found


def measure(scenario, peer, programs, seconds, log):
    """Measures once; all that the load generator found, and what we know besides."""
    proxy_cpus, load_cpus = machine.pins(scenario.mode)
    with Processes(log) as processes:
        origin, port = processes.start_listener([programs / "origin", *scenario.origin], load_cpus)
        settings = store(scenario.settings, peer, processes, load_cpus)
        running = peer.start(processes, proxy_cpus, port, settings)
        first_answer = wait_until_ready(running) - running.begun
        time.sleep(0.3 if scenario.load else AT_REST)
        found = {"first_answer_ms": first_answer * 1e3, "idle": memory(running.pids)}
        if scenario.load:
            found |= load(scenario, running, origin, processes, programs, seconds, load_cpus)
    return found


def store(settings, peer, processes, cpus):
    """Starts the store that is asked for, with the peer's users in it."""
    if settings.store != "redis":
        return settings
    install("redis-server")
    port = free_port()
    command = [find("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    processes.start(command, cpus)
    wait_for_port(port)
    url = f"redis://127.0.0.1:{port}"
    peer.copy_store(settings.users, url)
    return type(settings)(**{**vars(settings), "store": url})


def load(scenario, running, origin, processes, programs, seconds, cpus):
    """Runs the load generator; raises unless every answer was right."""
    pids = running.pids
    command = [programs / "load", *scenario.load, "--to", f"127.0.0.1:{running.port}", "--path", running.path,
               "--keys", running.keys, "--seconds", seconds, "--pids", ",".join(map(str, pids))]
    command += ["--tls"] if running.tls else []
    watched = pids + [origin.pid]
    begun, (busy, stolen), used = time.monotonic(), machine.busy_seconds(), machine.cpu_seconds(watched)
    process = processes.start(command, cpus, output=subprocess.PIPE)
    output = process.stdout.read()
    (busy_after, stolen_after), used_after = machine.busy_seconds(), machine.cpu_seconds(watched)
    if process.wait() or not output:
        raise Invalid(f"the load generator failed: see {processes.log}")
    found = json.loads(output)
    check(found, scenario)
    others = busy_after - busy - (used_after - used) - found["own_cpu_s"] + stolen_after - stolen
    found["others"] = others / (time.monotonic() - begun)
    return found


def check(found, scenario):
    wrong, completed = found["wrong"], found["completed"]
    if wrong:
        raise Invalid(f"{wrong} wrong answers, the first: {found['first_wrong']}")
    if not completed:
        raise Invalid("nothing was answered")
    if found.get("unfinished"):
        raise Invalid(f"{found['unfinished']} requests were never answered")
    if "open" in found and found["open"] != scenario.settings.streams:
        raise Invalid(f"only {found['open']} streams are open")


def wait_until_ready(running):
    """The moment of the first right answer."""
    key = running.keys.open().readline().strip()
    body = ('{"jsonrpc":"2.0","id":1000000000,"method":"tools/call","params":{"name":"create_issue",'
            '"arguments":{"user":0,"text":"x"}}}')
    head = (f"POST {running.path} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: 2025-06-18\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n")
    until = time.monotonic() + READY_WITHIN
    answer = b"no connection"
    while time.monotonic() < until:
        try:
            answer = exchange(running, (head + body).encode())
            if answer.startswith(b"HTTP/1.1 200"):
                return time.monotonic()
        except OSError:
            pass
        if running.process.poll() is not None:
            raise Invalid(f"it ended by itself with {running.process.returncode}")
        time.sleep(0.001)
    raise Invalid(f"it never answered; at last: {answer[:300].decode(errors='replace')}")


def exchange(running, request):
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as plain:
        if not running.tls:
            plain.sendall(request)
            return plain.recv(4096)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as secure:
            secure.sendall(request)
            return secure.recv(4096)


def wait_for_port(port):
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)
    raise Invalid(f"nothing listens on {port}")


def memory(pids):
    """Resident memory and its proportional share, in KiB."""
    total = {"rss": 0, "pss": 0}
    for pid in pids:
        for name, file, label in (("rss", "status", "VmRSS:"), ("pss", "smaps_rollup", "Pss:")):
            with open(f"/proc/{pid}/{file}") as opened:
                total[name] += sum(int(line.split()[1]) for line in opened if line.startswith(label))
    return total
