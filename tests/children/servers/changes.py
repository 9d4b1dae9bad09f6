"""Has other capabilities every time it starts."""

import os

from base import Server

MARK = os.path.join(os.environ["HOME"], "starts")


class Changes(Server):
    def begin(self, params):
        with open(MARK, "a") as file:
            file.write(".")
        return super().begin(params) | {"capabilities": {"tools": {"listChanged": os.path.getsize(MARK) % 2 == 0}}}


Changes().run()
