"""Cloakroom with everything `serve` does by default: audit to a file, metrics, its store."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .. import tools, users
from ..machine import version
from ..processes import free_port
from . import Peer

CONFIG = """\
listen = "127.0.0.1:{port}"
health_listen = "127.0.0.1:{health}"
{threads}
{limits}
[store]
url = "{store}"
[keyring]
file = "{folder}/master.keys"
{tls}
[servers.header]
url = "http://127.0.0.1:{origin}/header"
[servers.header.headers]
Authorization = "Bearer ${{TOKEN}}"
[servers.arguments]
url = "http://127.0.0.1:{origin}/arguments"
[servers.arguments.arguments]
token = {{ value = "${{TOKEN}}", tools = ["create_issue"] }}
"""

class Cloakroom(Peer):
    """The secret goes into a header."""

    path = "/header/mcp"

    def __init__(self, work, program, label, kind="cloakroom"):
        self.name = f"{kind}@{label}" if label else kind
        super().__init__(work)
        self.program = Path(program).resolve()

    def version(self):
        return f"{version([self.program, '--version'])}, build {tools.fingerprint(self.program)}"

    def command(self, port, origin, settings):
        # A trail of its own each time: what it takes must not grow from one measurement to the next.
        shutil.rmtree(self.work / "cloakroom-data", ignore_errors=True)
        folder = self.vault(settings.users)
        config = self.work / "cloakroom.toml"
        store = settings.store if settings.store != "sqlite" else f"sqlite:{folder}/cloakroom.db"
        config.write_text(self.config(port, origin, folder, store, settings))
        return [self.program, "serve", "--config", config]

    def config(self, port, origin, folder, store, settings):
        cert, key = tools.certificate() if settings.tls else (None, None)
        return CONFIG.format(
            port=port, health=free_port(), origin=origin, folder=folder, store=store,
            threads=f"threads = {settings.threads}",
            limits=limits(settings.streams),
            tls=f'[tls]\ncert_file = "{cert}"\nkey_file = "{key}"' if settings.tls else "",
        )

    def keys(self, settings):
        return self.vault(settings.users) / "keys.txt"

    def vault(self, count):
        """A keyring and a store with so many users, made by this build's own commands, once."""
        folder = tools.WORK / "vaults" / f"{tools.fingerprint(self.program)}-{count}"
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            # In memory, where a commit for each user costs no disk.
            with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
                self.fill(Path(scratch), count)
                part = folder.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(scratch, part)
                part.rename(folder)
        return folder

    def fill(self, folder, count):
        config = folder / "cloakroom.toml"
        config.write_text(CONFIG.format(
            port=1, health=2, origin=3, folder=folder, store="sqlite:cloakroom.db", threads="", limits="", tls=""))
        rows = ["username,key_name,header.TOKEN,arguments.TOKEN"]
        rows += [f"user-{user:07},bench,{users.secret(user)},{users.secret(user)}" for user in range(count)]
        (folder / "users.csv").write_text("\n".join(rows) + "\n")
        self.run("keyring", "init", "--config", config)
        self.run("import", folder / "users.csv", "--from", "csv", "--client", "generic",
                 "--out", folder / "clients", "--config", config)
        clients = sorted((folder / "clients").iterdir())
        found = [re.search(r"clk_\w{36}", file.read_text()).group() for file in clients]
        (folder / "keys.txt").write_text("\n".join(found) + "\n")
        shutil.rmtree(folder / "clients")
        shutil.rmtree(folder / "cloakroom-data", ignore_errors=True)

    def copy_store(self, count, url):
        """Copies the vault's store to another, such as a Redis."""
        folder = self.vault(count)
        config = self.work / "copy.toml"
        config.write_text(CONFIG.format(
            port=1, health=2, origin=3, folder=folder, store=f"sqlite:{folder}/cloakroom.db",
            threads="", limits="", tls=""))
        self.run("store", "copy", "--to", url, "--config", config)

    def run(self, *command):
        words = [str(word) for word in (self.program, *command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"cloakroom {command[0]} failed: {done.stderr[-500:]}")


def limits(streams):
    """Defaults, unless there are more streams than `limits.streams` (4096) lets through."""
    return f"limits.streams = {streams}\nlimits.user_streams = {streams}" if streams > 4096 else ""


class CloakroomArguments(Cloakroom):
    """The secret goes into the tool's arguments."""

    path = "/arguments/mcp"

    def __init__(self, work, program, label):
        super().__init__(work, program, label, "cloakroom-arguments")
