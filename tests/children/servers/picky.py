"""Grants no subscription, and writes carriage returns where JSON allows them."""

import json
import os

from base import Server


class Picky(Server):
    def ask(self, method, params, number):
        if method == "resources/subscribe":
            raise KeyError(method)
        return super().ask(method, params, number)

    def call(self, params, number):
        answer = {"jsonrpc": "2.0", "id": number, "result": {"content": [], "isError": False}}
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
        for message in (note, answer):
            os.write(1, json.dumps(message, indent=1).replace("\n", "\r").encode() + b"\n")


Picky().run()
