"""The bare TCP relay of this package: the floor of two sockets."""

from . import Peer


class Relay(Peer):
    name = "relay"
    injects = False

    def __init__(self, work, programs):
        super().__init__(work)
        self.program = programs / "relay"

    def version(self):
        return "of this package"

    def command(self, port, origin, settings):
        return [self.program, "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{origin}"]
