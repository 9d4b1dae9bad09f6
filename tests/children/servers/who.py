"""Says by whose secret it runs. Arguments: anything, then `modern` for a server of MCP 2026-07-28."""

import os
import sys
import time

from base import Server, fingerprint, say, text

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


class Who(Server):
    def __init__(self, is_modern: bool) -> None:
        super().__init__(is_modern)
        self.own = fingerprint(os.environ.get("TOKEN", ""))
        self.count = 0

    def call(self, params, number):
        arguments = params.get("arguments") or {}
        meta = params.get("_meta") or {}
        self.count += 1
        said = {
            "fingerprint": self.own, "pid": os.getpid(), "count": self.count, "nonce": arguments.get("nonce"),
            "heard": self.heard[:8] if arguments.get("heard") else None,
        }
        said["fill"] = "x" * arguments.get("fill", 0)
        if (token := meta.get("progressToken")) is not None:
            along = {"progressToken": token, "progress": 1, "message": f"{self.own} {said['nonce']}"}
            say({"method": "notifications/progress", "params": along})

        def answer():
            say({"id": number, "result": text(said)})

        if spin := arguments.get("spin"):
            time.sleep(spin)
        self.later(arguments.get("wait", 0), answer)

    def listen(self, params, number):
        """Tells each listener of changes of what he named, for as long as he listens."""
        meta = {SUBSCRIPTION: number}
        wanted = params.get("notifications", {})
        uri = (wanted.get("resourceSubscriptions") or ["none:"])[0]
        say({"method": "notifications/subscriptions/acknowledged", "params": {"_meta": meta, "notifications": wanted}})

        def tell():
            changed = {"_meta": meta, "uri": f"{uri}/{self.own}"}
            say({"method": "notifications/resources/updated", "params": changed})
            self.later(0.2, tell)

        self.later(0.05, tell)


Who(sys.argv[-1] == "modern").run()
