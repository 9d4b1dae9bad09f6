"""What a warm call takes more through the proxy than over the pipes of the same server. Measured, not judged."""

from __future__ import annotations

import json
import statistics
import subprocess
import time

from client import Client
from house import ENVIRONMENT, PYTHON, SERVERS, House

CALLS, WARM = 2000, 200


def run(**_) -> tuple[list[str], str]:
    wrong: list[str] = []
    with House({"one": ("who",)}) as house:
        house.add(["alice"], ["one"])
        house.start()
        client = Client(house.port, house.key("alice"), "/one/mcp")
        client.open()
        line = [PYTHON, "-S", "-E", "-B", str(SERVERS / "who.py"), house.tag]
        direct = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT | {"TOKEN": "x"})

        def over_pipes(number: int) -> None:
            call = client.message("tools/call", {"name": "whoami", "arguments": {}}, number)
            direct.stdin.write(json.dumps({"jsonrpc": "2.0", **call}).encode() + b"\n")
            direct.stdin.flush()
            json.loads(direct.stdout.readline())

        def through(_: int) -> None:
            if client.call().error:
                wrong.append("a call failed")

        took: dict = {over_pipes: [], through: []}
        for number in range(CALLS + WARM):
            # Side by side, so that what else the machine does hits both.
            for way, all_of in took.items():
                began = time.perf_counter()
                way(number)
                if number >= WARM:
                    all_of.append(time.perf_counter() - began)
        direct.stdin.close()
        direct.wait(10)
        pipes, proxy = (statistics.median(all_of) * 1e6 for all_of in took.values())
        late = [sorted(all_of)[int(len(all_of) * 0.99)] * 1e6 for all_of in took.values()]
        return wrong, (
            f"a warm call takes {pipes:.0f} µs over pipes and {proxy:.0f} µs through the proxy (the client's HTTP is in "
            f"it), {proxy - pipes:.0f} µs more; 99 %: {late[0]:.0f} and {late[1]:.0f} µs"
        )
