"""A proxy in a folder of its own, its users, and what it and its children are to the system."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).resolve().parent / "servers"
BINARY = os.environ.get("CLOAKROOM_BIN") or str(ROOT / "target" / "debug" / "cloakroom")
# The system's own starts faster than one of an environment, and children may read it.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else shutil.which("python3")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}


def wait_until(what, seconds: float, every: float = 0.02):
    """What it gave at last, true or not."""
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end:
        time.sleep(every)
    return found


class House:
    """`servers` gives for each name the script, its argument, and lines of its table."""

    def __init__(self, servers: dict, root: str = "", limits: str = "", log: str = "warn") -> None:
        self.tag = "house-" + secrets.token_hex(6)
        self.folder = Path(tempfile.mkdtemp(prefix="children-"))
        self.users: dict[str, dict] = {}
        self.process: subprocess.Popen | None = None
        tables = [self.table(name, *of) for name, of in servers.items()]
        (self.folder / "cloakroom.toml").write_text(
            f'listen = "127.0.0.1:0"\nlog = "{log}"\ndata_dir = "data"\n{root}\n[store]\nurl = "sqlite:store.db"\n'
            '[keyring]\nfile = "master.keys"\n'
            f"[limits]\nuser_requests = 1000\nuser_streams = 1000\n{limits}\n" + "".join(tables)
        )
        self.command("keyring", "init")

    def table(self, name: str, script: str, argument: str = "", lines: str = "") -> str:
        words = [PYTHON, "-S", "-E", "-B", str(SERVERS / f"{script}.py"), self.tag, f"server={name}", argument]
        return (
            f"[servers.{name}]\ncommand = {json.dumps(words)}\n{lines}\n"
            f'[servers.{name}.env]\nTOKEN = "${{TOKEN}}"\n'
        )

    def command(self, *words: str, given: str | None = None) -> dict:
        line = [BINARY, *words, "--json", "--config", "cloakroom.toml"]
        done = subprocess.run(
            line, cwd=self.folder, input=given, capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr}")
        return json.loads(done.stdout or "{}")

    def add(self, names: list[str], servers: list[str], profiles: tuple[str, ...] = ("default",)) -> None:
        """Users with a secret for each server and profile."""

        def one(name: str) -> None:
            self.command("user", "add", name)
            user = self.command("key", "issue", name)
            for server in servers:
                for profile in profiles:
                    self.set(name, server, profile)
            self.users[name] = user

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, names))

    def add_secrets(self, names: list[str], server: str) -> None:
        for name in names:
            self.set(name, server)

    def set(self, name: str, server: str, profile: str = "default", value: str | None = None) -> str:
        value = value or f"sk-{name}-{profile}-{secrets.token_hex(16)}"
        words = ["secret", "set", name, server, "TOKEN"]
        if profile != "default":
            words += ["--profile", profile]
        before = time.monotonic()
        self.command(*words, given=value)
        self.note(name, server, profile, value, before)
        return value

    def note(self, name: str, server: str, profile: str, value: str, before: float) -> None:
        """Every value a secret had, and when it may have begun to be it."""

    def key(self, name: str) -> str:
        return self.users[name]["key"]

    def start(self) -> House:
        line = [BINARY, "serve", "--json", "--config", "cloakroom.toml"]
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            line, cwd=self.folder, stdout=subprocess.PIPE, stderr=self.log, text=True, env=ENVIRONMENT
        )
        said = self.process.stdout.readline()
        if not said:
            raise RuntimeError((self.folder / "log").read_text()[-3000:])
        self.port = int(json.loads(said)["listening"].rsplit(":", 1)[1].strip("/"))
        return self

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.tagged():
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def supervisor(self) -> int | None:
        return next((pid for pid in below(self.pid, 1) if "__supervise" in words_of(pid)), None)

    def tagged(self, server: str | None = None) -> list[int]:
        """All processes that a command of this house became, or that one of those forked."""
        wanted = {self.tag} | ({f"server={server}"} if server else set())
        return [pid for pid in all_processes() if wanted <= set(words_of(pid))]

    def below(self) -> dict[int, Stat]:
        """All below the proxy but the supervisor, those that ended and were not reaped too."""
        supervisor = self.supervisor()
        return {pid: stat for pid, stat in below(self.pid).items() if pid != supervisor}

    def memory(self) -> int:
        """KiB of memory that are the proxy's own, without its code, of which more or less is there as it happens."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty:"))

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Stat:
    """What the system says of a process."""

    def __init__(self, pid: int) -> None:
        with open(f"/proc/{pid}/stat") as file:
            rest = file.read().rsplit(")", 1)[1].split()
        self.state, self.parent, self.begun = rest[0], int(rest[1]), int(rest[19])


def all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def words_of(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().split("\0")
    except (OSError, UnicodeDecodeError):
        return []


def below(root: int, depth: int = 99) -> dict[int, Stat]:
    parents: dict[int, list] = {}
    for pid in all_processes():
        try:
            stat = Stat(pid)
        except OSError:
            continue
        parents.setdefault(stat.parent, []).append((pid, stat))
    found, level = {}, [root]
    for _ in range(depth):
        level = [(pid, stat) for above in level for pid, stat in parents.get(above, [])]
        if not level:
            break
        found.update(level)
        level = [pid for pid, _ in level]
    return found


def is_there(pid: int, stat: Stat) -> bool:
    """Whether the same process is still there; one that ended and that only its reaper owes a look is not."""
    try:
        now = Stat(pid)
    except OSError:
        return False
    return now.begun == stat.begun and not (now.state == "Z" and now.parent == 1)


class Together:
    """Threads whose first failure is told."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.failures: list[str] = []

    def start(self, what, *given) -> None:
        def run() -> None:
            try:
                what(*given)
            except Exception as error:  # noqa: BLE001
                import traceback

                self.failures.append(f"{error!r}\n{traceback.format_exc()}")

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def join(self, seconds: float) -> list[str]:
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
        late = sum(thread.is_alive() for thread in self.threads)
        return self.failures + ([f"{late} threads did not end within {seconds:.0f} s"] if late else [])
