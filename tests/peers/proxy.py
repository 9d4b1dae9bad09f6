"""Builds, configures and runs the real proxy, the way an operator does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
from pathlib import Path

from harness import EVERYTHING, HERE, NODE, PYTHON, ROOT, Broken, Process, Report, free_port


def build() -> Path:
    """Build the debug binary, unless $CLOAKROOM_BIN names one; where it is."""
    # Taken out: the proxy refuses variables of this prefix that it does not know.
    if given := os.environ.pop("CLOAKROOM_BIN", None):
        return Path(given)
    subprocess.run(["cargo", "build", "--quiet", "--bin", "cloakroom"], cwd=ROOT, check=True)
    found = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True
    )
    return Path(json.loads(found.stdout)["target_directory"]) / "debug" / "cloakroom"


class User:
    """A person with a key, and a secret of their own for each server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = f"fixture-{name}-{secrets.token_hex(8)}"
        self.key = self.key_id = ""

    @property
    def fingerprint(self) -> str:
        """What the fixture's `whoami` says when called with this user's secret."""
        return hashlib.sha256(f"Bearer {self.token}".encode()).hexdigest()

    @property
    def basic(self) -> str:
        """What `Basic ${base64(USER:TOKEN)}` makes of their e-mail address and secret."""
        return "Basic " + base64.b64encode(f"{self.name}@example.com:{self.token}".encode()).decode()

    def told(self) -> dict[str, str]:
        """What a client script may know of them."""
        return {"name": self.name, "key": self.key, "token": self.token, "fingerprint": self.fingerprint}


SLOT = "Bearer ${TOKEN}"


def http(url: str, value: str = SLOT) -> str:
    """The settings of a Streamable HTTP server that wants a secret in `Authorization`."""
    return f'url = "{url}"\nheaders = {{ Authorization = "{value}" }}\n'


def sse(url: str, value: str = SLOT) -> str:
    """As `http`, for a server that speaks HTTP+SSE."""
    return f'sse_url = "{url}"\nheaders = {{ Authorization = "{value}" }}\n'


def started(words: list, env: dict[str, str], more: str = "") -> str:
    """The settings of a server that is started for each user, with their secret in its environment."""
    table = ", ".join(f"{name} = '{value}'" for name, value in env.items())
    return f"command = {json.dumps([str(word) for word in words])}\n{more}env = {{ {table} }}\n"


def started_fixture() -> str:
    """The fixture on standard input and output; its interpreter's packages are no part of a program."""
    words = [PYTHON, HERE / "fixture" / "server.py", "--stdio"]
    return started(words, {"AUTHORIZATION": SLOT}, f"readable = {json.dumps([str(PYTHON.parent.parent.resolve())])}\n")


def started_everything(variable: str = "TOKEN", more: str = "") -> str:
    return started([NODE, EVERYTHING, "stdio"], {variable: "${TOKEN}"}, more)


class Proxy:
    """One running proxy in a folder of its own: its servers' settings by their names, and settings of its own."""

    def __init__(self, binary: Path, folder: Path, servers: dict[str, str], settings: str = "") -> None:
        self._binary = binary
        self.folder = folder
        folder.mkdir()
        self.config = folder / "cloakroom.toml"
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        text = f"""listen = "127.0.0.1:{self.port}"
default_server = "{next(iter(servers))}"
log = "debug"
{settings}
[store]
url = "sqlite:cloakroom.db"
[keyring]
file = "master.keys"
"""
        for name, table in servers.items():
            text += f"[servers.{name}]\n{table}"
        self.config.write_text(text)
        self._servers = list(servers)
        self.command("keyring", "init")

    def command(self, *words: str, stdin: str = "", parse: bool = False):
        """Run one subcommand; its one JSON document, when `parse`."""
        line = [str(self._binary), *words, "--config", str(self.config), *(["--json"] if parse else [])]
        done = subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Broken(f"`cloakroom {' '.join(words)}` ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return json.loads(done.stdout) if parse else None

    def add_user(self, name: str, secrets: bool = True) -> User:
        user = User(name)
        self.command("user", "add", name)
        for server in self._servers if secrets else ():
            self.command("secret", "set", name, server, "TOKEN", stdin=user.token)
        self.issue_key(user)
        return user

    def issue_key(self, user: User, *options: str) -> str:
        issued = self.command("key", "issue", user.name, *options, parse=True)
        user.key, user.key_id = issued["key"], issued["id"]
        return user.key

    def serve(self, seconds: float = 20) -> Proxy:
        command = [self._binary, "serve", "--config", self.config]
        self.process = Process("the proxy", command, self.folder / "proxy.log").wait_for(self.port, seconds)
        return self

    def url(self, server: str, transport: str = "mcp") -> str:
        return f"{self.origin}/{server}/{transport}"

    def check_log(self, report: Report, group: str, users: list[User]) -> None:
        log = (self.folder / "proxy.log").read_text(errors="replace")
        for user in users:
            for what, value in (("secret", user.token), ("key", user.key)):
                if value:
                    report.check(group, f"{user.name}'s {what} is not in the proxy's log", value not in log)
