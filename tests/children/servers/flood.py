"""Fills its standard output once it was initialized; with `line`, with lines that are no messages."""

import os
import sys

from base import Server

SAID = b"x" * 65536 if sys.argv[-1] != "line" else b"this is no message\n" * 3000


class Flood(Server):
    def told(self, method, params):
        while True:
            os.write(1, SAID)


Flood().run()
