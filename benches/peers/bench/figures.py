"""Figures out of what was measured, round by round."""

import re
from collections import Counter, defaultdict
from statistics import median

WORKER = re.compile(r"cloakroom-\d+|nginx")
"""The names of threads that serve requests."""


def evenness(threads):
    """The CPU time of the second busiest worker, to the busiest."""
    workers = [thread["cpu_us"] for thread in threads if WORKER.fullmatch(thread["name"])]
    return workers[1] / workers[0]


COLUMNS = {
    "cpu_us_each": ("CPU µs", 2, lambda found: found["cpu_us_each"]),
    "per_second": ("a second", 0, lambda found: found["per_second"]),
    "p50": ("p50 µs", 0, lambda found: found["p50"]),
    "p99": ("p99 µs", 0, lambda found: found["p99"]),
    "p999": ("p99.9 µs", 0, lambda found: found["p999"]),
    "rss_mib": ("RSS MiB", 1, lambda found: found["memory"]["rss"] / 1024),
    # What processes share counts once: nginx has two of them.
    "pss_mib": ("PSS MiB", 1, lambda found: found["memory"]["pss"] / 1024),
    "idle_rss_mib": ("RSS MiB", 1, lambda found: found["idle"]["rss"] / 1024),
    "idle_pss_mib": ("PSS MiB", 1, lambda found: found["idle"]["pss"] / 1024),
    "kib_each": ("KiB each", 1, lambda found: (found["memory"]["pss"] - found["memory_before"]["pss"]) / found["open"]),
    "grown_mib": ("grown MiB", 1, lambda found: (found["memory"]["peak"] - found["memory_before"]["rss"]) / 1024),
    "evenness": ("2nd worker/1st", 2, lambda found: evenness(found["threads"])),
    "first_answer_ms": ("first answer ms", 1, lambda found: found["first_answer_ms"]),
}
"""What a figure is called, its digits, and how it is read out of one measurement."""

SHOWN = {
    "sse": ("cpu_us_each", "kib_each", "p50", "p99", "pss_mib"),
    "start": ("first_answer_ms", "idle_rss_mib", "idle_pss_mib"),
    "body": ("cpu_us_each", "per_second", "p50", "p99", "grown_mib"),
    "cores-2": ("cpu_us_each", "per_second", "p50", "p999", "evenness"),
}
SHOWN |= {"sse-burst": SHOWN["sse"], "sse-many": SHOWN["sse"], "answer": SHOWN["body"]}
USUAL = ("cpu_us_each", "per_second", "p50", "p99", "p999", "rss_mib", "pss_mib")


class Figures:
    """All measurements that are valid, by scenario, peer and round."""

    def __init__(self, measurements):
        self.found = defaultdict(lambda: defaultdict(dict))
        for one in measurements:
            if "invalid" not in one:
                self.found[one["scenario"]][one["peer"]][one["round"]] = one["found"]

    def peers(self, scenario):
        return list(self.found.get(scenario, {}))

    def values(self, scenario, peer, column):
        """A figure of each round that has it."""
        read = COLUMNS[column][2]
        values = {}
        for number, found in self.found.get(scenario, {}).get(peer, {}).items():
            try:
                values[number] = read(found)
            except (KeyError, IndexError, ZeroDivisionError):
                pass
        return values

    def threads(self, scenario, peer):
        """CPU by thread of the busiest four, in µs each request or event: medians."""
        each = defaultdict(list)
        for found in self.found.get(scenario, {}).get(peer, {}).values():
            sums = Counter()
            for thread in found.get("threads", []):
                sums[thread["name"]] += thread["cpu_us"] / found["completed"]
            for name, value in sums.items():
                each[name].append(value)
        named = {name: median(values) for name, values in each.items()}
        return sorted(named.items(), key=lambda pair: -pair[1])[:4]

    def quotients(self, above, below):
        """One figure by another, each a scenario, peer and column, for each round that has both."""
        above, below = self.values(*above), self.values(*below)
        return {number: above[number] / below[number] for number in above if below.get(number)}
