"""Answers a call with as many bytes as it is asked for."""

from base import Server, text


class Long(Server):
    def call(self, params, number):
        return text({"fill": "x" * params["arguments"]["bytes"]})


Long().run()
