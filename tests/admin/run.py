"""The admin API, fuzzed from its own OpenAPI document by schemathesis.

    python tests/admin/run.py [--count FILE]

Run by tests/run.sh. $CLOAKROOM_BIN names the binary to test. Twice over all operations: once by the document as
it is, where nearly every name is unknown; and once by one whose paths name only what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CLOAKROOM_BIN") or str(ROOT / "target/debug/cloakroom")
# A variable of that name would be taken for a key of the configuration.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "unsupported_method,ignored_auth"
)
USERS = [f"user-{number}" for number in range(24)]
GROUPS = [f"group-{number}" for number in range(12)]
CONFIG = """
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
log_format = "json"
[servers.github]
url = "http://127.0.0.1:9/mcp"
[servers.github.headers]
Authorization = "Bearer ${GITHUB_TOKEN}"
"""


class House:
    """An installation in a folder of its own, which serves until it is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "cloakroom.toml").write_text(CONFIG)
        self.command("keyring", "init")
        self.key = self.command("admin", "key", "issue", "root", "--role", "owner")["key"]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--json"], cwd=folder, env=PLAIN, stdout=subprocess.PIPE, stderr=self.log
        )
        # It says so once it listens.
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.url = f"http://{self.bound()}"

    def command(self, *words: str) -> dict:
        done = subprocess.run(
            [BINARY, *words, "--json"], cwd=self.folder, env=PLAIN, capture_output=True, check=True
        )
        return json.loads(done.stdout)

    def bound(self) -> str:
        for line in (self.folder / "log").read_text().splitlines():
            told = json.loads(line)
            told = {**told, **told.get("fields", {})}
            if told.get("message") == "admin":
                return told["bound"]
        raise SystemExit("it does not say where the admin API is")

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)


def at_home(house: House) -> dict:
    """The document, whose paths name only what is there."""
    for name in USERS:
        house.ask("POST", "/users", {"username": name})
        house.ask("PUT", f"/users/{name}/secrets/github/GITHUB_TOKEN", {"value": "x"})
    for name in GROUPS:
        house.ask("POST", "/groups", {"name": name})
        house.ask("PUT", f"/groups/{name}/members/{USERS[0]}")
    keys = [house.ask("POST", f"/users/{name}/keys", {})["key_id"] for name in USERS]
    names = {"user": USERS, "group": GROUPS, "server": ["github"], "secret": ["GITHUB_TOKEN"], "key_id": keys}
    document = house.ask("GET", "/openapi.json")
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": names[parameter["name"]]}
    return document


def fuzz(house: House, document: Path, examples: int) -> bool:
    tool = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            tool, "run", document, "--url", house.url, "--header", f"Authorization: Bearer {house.key}",
            "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples),
            # More than one now and then trips over the parser of CPython 3.11.
            "--workers", "1", "--seed", "7", "--continue-on-failure", "--no-color", "--warnings", "off",
            "--suppress-health-check", "all", "--request-timeout", "10",
        ],
        cwd=house.folder,
        timeout=300,
        check=False,
    )
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=Path)
    args = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, House(Path(folder)) as house:
        plain, home = Path(folder, "plain.json"), Path(folder, "home.json")
        plain.write_text(json.dumps(house.ask("GET", "/openapi.json")))
        home.write_text(json.dumps(at_home(house)))
        for document in (plain, home):
            fine = fuzz(house, document, 12)
            passed, failed = passed + fine, failed + (not fine)
        # It went through all of that, and still knows its administrator.
        fine = house.ask("GET", "/status")["version"] != "" and house.process.poll() is None
        passed, failed = passed + fine, failed + (not fine)
    print(f"{passed} passed, {failed} failed")
    if args.count:
        args.count.write_text(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
