"""A server that was written to steal gets nothing, and its secret is written nowhere."""

from __future__ import annotations

import base64
import os
import socket
import threading
from pathlib import Path

from client import Client
from house import BINARY, House, below


def environment_is(said: dict, token: str, wrong: list[str]) -> None:
    home = said["environment"].get("HOME")
    wanted = {"PATH", "LANG", "HOME", "TMPDIR", "TOKEN", "MODE"}
    # What Python and its loader set themselves.
    names = set(said["environment"]) - {"LC_CTYPE"}
    if names != wanted:
        wrong.append(f"the environment has {names - wanted} too much, and lacks {wanted - names}")
    if said["environment"].get("TOKEN") != token or said["environment"].get("MODE") != "steal":
        wrong.append("the slots are not what they should be")
    if said["environment"].get("TMPDIR") != f"{home}/tmp" or said["cwd"] != home or said["mode"] != 0o700:
        wrong.append(f"HOME {home}, TMPDIR {said['environment'].get('TMPDIR')}, in {said['cwd']}, mode {said['mode']:o}")
    if said["descriptors"] != [0, 1, 2]:
        wrong.append(f"descriptors {said['descriptors']} are open")


def forms(secret: str) -> dict[str, bytes]:
    """How a secret may be written."""
    raw = secret.encode()
    found = {"as it is": raw, "in hex": raw.hex().encode(), "backwards": raw[::-1]}
    for shift in range(3):
        # Without the ends, which depend on what is beside it.
        found[f"in base64, shifted by {shift}"] = base64.b64encode(b"x" * shift + raw)[4:-4]
    return found


def sinks(house: House) -> dict[str, bytes]:
    """All that the proxy writes, and what everybody may see of it."""
    found = {}
    for path in house.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[str(path.relative_to(house.folder))] = path.read_bytes()
    for pid in [house.pid, *below(house.pid)]:
        for name in ("cmdline", "comm", "status", "stat", "wchan"):
            try:
                found[f"/proc/{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                pass
    # The proxy's and the supervisor's environment: the secrets are the children's.
    for pid in (house.pid, house.supervisor()):
        found[f"/proc/{pid}/environ"] = Path(f"/proc/{pid}/environ").read_bytes()
    return found


def run(**_) -> tuple[list[str], str]:
    wrong: list[str] = []
    with House({"steals": ("steals",), "one": ("who",), "crash": ("crash", "later")}, log="trace") as house:
        config = house.folder / "cloakroom.toml"
        text = config.read_text()
        text = text.replace('[servers.steals.env]\n', '[servers.steals.env]\nMODE = "steal"\n')
        config.write_text(text)
        house.add(["thief", "victim"], ["steals", "one", "crash"])
        canaries = [house.set(user, server) for user in ("thief", "victim") for server in ("steals", "one", "crash")]
        house.start()
        victim = Client(house.port, house.key("victim"), "/steals/mcp")
        victim.open()
        sibling = Client(house.port, house.key("thief"), "/one/mcp")
        sibling.open()
        sibling_pid = sibling.call().said["pid"]
        victim_said = victim.call(paths=[], pids=[], sockets=[]).said
        # What the proxy tells `cloakroom ps` lies in a folder a child knows from its HOME.
        outside = socket.socket(socket.AF_UNIX)
        outside.bind("\0" + house.tag)
        outside.listen()
        thief = Client(house.port, house.key("thief"), "/steals/mcp")
        thief.open()
        first = thief.call(paths=[], pids=[], sockets=[]).said
        homes = [victim_said["environment"]["HOME"], os.path.dirname(first["environment"]["HOME"]), str(house.folder / "data")]
        homes += [home(sibling_pid), str(Path(homes[0]).parent), str(house.folder)]
        homes += [f"{homes[0]}/tmp", "/proc/self/../1/environ", "/proc/kcore", "/proc/sysrq-trigger", "/sys/kernel/security"]
        files = [str(house.folder / name) for name in ("master.keys", "store.db", "store.db-wal", "store.db-shm", "cloakroom.toml", "log")]
        others = ["/root", "/home", "/etc/shadow", "/tmp", "/var/tmp", "/dev/shm", "/dev/mem", "/dev/kmsg", "/run", BINARY]
        pids = [house.pid, house.supervisor(), victim_said["pid"], sibling_pid, os.getpid(), 1]
        sockets = ["\0" + house.tag, *map(str, (house.folder / "data").glob("*.sock"))]
        said = thief.call(paths=files + homes + others, pids=pids, sockets=sockets).said
        own = str(first["pid"])
        for got in said["got"]:
            wrong.append(f"a child {got}".replace(str(house.folder), "HOUSE"))
        if set(said["processes"]) - {own}:
            wrong.append(f"a child sees the numbers of {len(said['processes'])} processes")
        environment_is(said, canaries[0], wrong)
        tried = len(files + homes + others) * 2 + len(pids) * 14 + len(sockets)
        # An attempt that works shows that the thief can tell.
        ours = thief.call(paths=[first["environment"]["HOME"]], pids=[int(own)], sockets=[]).said["got"]
        if len(ours) < 5:
            wrong.append(f"of what is its own, a child got {ours} only")
        crash = Client(house.port, house.key("thief"), "/crash/mcp")
        crash.open()
        answers = [str(crash.call().message)]
        found = sinks(house) | {"an answer after a crash": answers[0].encode()}
        for canary in canaries:
            for form, written in forms(canary).items():
                for sink, content in found.items():
                    if written in content:
                        wrong.append(f"{sink} holds a secret {form}")
        outside.close()
        return wrong, f"{tried} attempts; {len(canaries)} secrets in 6 forms looked for in {len(found)} places, {sum(map(len, found.values())) >> 10} KiB"


def home(pid: int) -> str:
    with open(f"/proc/{pid}/environ") as file:
        return next(word[5:] for word in file.read().split("\0") if word.startswith("HOME="))
