"""The proxies that are compared. Each is made as fast as its documentation knows how."""

import time
from dataclasses import dataclass
from pathlib import Path

from ..processes import family, free_port
from .. import users


@dataclass(frozen=True)
class Settings:
    """What a scenario asks of a proxy besides its best configuration."""

    streams: int = 0
    """So many streams of events will be open; whatever delays events is off."""
    tls: bool = False
    threads: int = 1
    store: str = "sqlite"
    users: int = users.USERS


@dataclass
class Running:
    """A proxy that answers."""

    process: object
    begun: float
    """When it was started, by the monotonic clock."""
    port: int
    path: str
    keys: Path
    tls: bool = False

    @property
    def pids(self):
        return family(self.process.pid)


class Peer:
    """A proxy: how it is called, and how it is started."""

    name: str
    injects = True
    """Without, the clients bring the secrets themselves."""

    def __init__(self, work):
        self.work = work / self.name
        self.work.mkdir(parents=True, exist_ok=True)

    @property
    def base(self):
        """The name by which scenarios ask for it."""
        return self.name.split("@")[0]

    def version(self):
        raise NotImplementedError

    def command(self, port, origin, settings):
        """The command that serves on `port`; its files are written on the way."""
        raise NotImplementedError

    def keys(self, settings):
        """The keys its clients use."""
        return users.keys_file(self.work, users.key if self.injects else users.secret)

    path = "/header"

    def start(self, processes, cpus, origin, settings):
        """Starts it; it may not listen yet."""
        port = free_port()
        command, keys = self.command(port, origin, settings), self.keys(settings)
        # What was done before this is not the proxy's.
        begun = time.monotonic()
        process = processes.start(command, cpus)
        return Running(process, begun, port, self.path, keys, settings.tls)
