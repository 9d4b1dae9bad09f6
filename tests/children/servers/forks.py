"""Leaves a grandchild in a session of its own, twice forked, which holds on to all it was given."""

import os
import signal
import time

from base import Server


def daemon() -> None:
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


signal.signal(signal.SIGCHLD, signal.SIG_IGN)
daemon()
Server().run()
