"""Runs a client behind a proxy of its own: `behind.py COMMAND... URL`.

Starts a proxy towards URL with one user and a key, then COMMAND with the proxy's URL in its place and
the key in $PEER_BEARER; ends as it ended. What the official suite is given as a command, since its mock
servers choose their URL last. $PEER_PROXY names the binary, and $PEER_FOLDER the folder for its files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import arguments
from harness import stop_on_signals
from proxy import Proxy, http


def main() -> int:
    *command, url = sys.argv[1:]
    stop_on_signals()
    folder = Path(tempfile.mkdtemp(dir=os.environ["PEER_FOLDER"])) / "proxy"
    proxy = Proxy(Path(os.environ["PEER_PROXY"]), folder, {"suite": http(url) + arguments.SLOT})
    user = proxy.add_user("alice")
    arguments.set_for(proxy, "suite", user, arguments.value())
    proxy.serve()
    ended = subprocess.run([*command, proxy.url("suite")], env={**os.environ, "PEER_BEARER": user.key}).returncode
    proxy.process.stop()
    return ended


if __name__ == "__main__":
    sys.exit(main())
