"""Says its secret and a few control characters on standard error, and ends: at once, or when it is called."""

import os
import sys

from base import Server


def crash(*_):
    secret = os.environ.get("TOKEN", "")
    sys.stderr.write(f"cannot log in with {secret}\n\x1b[2Jlast words\x07\n")
    sys.stderr.flush()
    os._exit(3)


class Crash(Server):
    call = crash


if sys.argv[-1] != "later":
    crash()
Crash().run()
