"""Ignores SIGTERM, and lives on when its standard input has ended."""

import signal
import time

from base import Server

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
Server().run()
while True:
    time.sleep(60)
