"""Asks its client before it answers a call."""

import os

from base import Server, say, text


class Asks(Server):
    called = None

    def call(self, params, number):
        self.called = number
        say({"id": 0, "method": "roots/list"})

    def hear(self, message):
        if "method" not in message and message.get("id") == 0:
            say({"id": self.called, "result": text({"pid": os.getpid(), "told": message["result"]})})
        else:
            super().hear(message)


Asks().run()
