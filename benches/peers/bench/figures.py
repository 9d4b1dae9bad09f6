"""Medians, spreads and ratios of what was measured."""

import statistics
from collections import defaultdict

COLUMNS = {
    "cpu_us_each": ("CPU µs", 2, lambda found: found["cpu_us_each"]),
    "per_second": ("a second", 0, lambda found: found["per_second"]),
    "p50": ("p50 µs", 0, lambda found: found["p50"]),
    "p99": ("p99 µs", 0, lambda found: found["p99"]),
    "p999": ("p99.9 µs", 0, lambda found: found["p999"]),
    "rss_mib": ("RSS MiB", 1, lambda found: found["memory"]["rss"] / 1024),
    "idle_mib": ("idle MiB", 1, lambda found: found["idle"]["rss"] / 1024),
    "kib_each": ("KiB each", 1, lambda found: (found["memory"]["pss"] - found["memory_before"]["pss"]) / found["open"]),
    "grown_mib": ("grown MiB", 1, lambda found: (found["memory"]["peak"] - found["memory_before"]["rss"]) / 1024),
    "evenness": ("2nd thread/1st", 2, lambda found: found["threads_us"][1] / found["threads_us"][0]),
    "first_answer_ms": ("first answer ms", 1, lambda found: found["first_answer_ms"]),
}
"""What a figure is called, its digits, and how it is read out of one measurement."""

SHOWN = {
    "sse": ("cpu_us_each", "kib_each", "p50", "p99", "rss_mib"),
    "start": ("first_answer_ms", "idle_mib"),
    "body": ("cpu_us_each", "per_second", "p50", "p99", "grown_mib"),
    "cores": ("cpu_us_each", "per_second", "p50", "p999", "evenness"),
    "soak": ("cpu_us_each", "per_second", "p999", "grown_mib", "rss_mib"),
}
SHOWN |= {"sse-many": SHOWN["sse"], "answer": SHOWN["body"], "cores-2": SHOWN["cores"]}
USUAL = ("cpu_us_each", "per_second", "p50", "p99", "p999", "rss_mib")


class Figures:
    """All measurements that are valid, by scenario and peer."""

    def __init__(self, measurements):
        self.found = defaultdict(lambda: defaultdict(list))
        for one in measurements:
            if "invalid" not in one:
                self.found[one["scenario"]][one["peer"]].append(one["found"])

    def values(self, scenario, peer, column):
        """A figure of each round."""
        read = COLUMNS[column][2]
        values = []
        for found in self.found.get(scenario, {}).get(peer, []):
            try:
                values.append(read(found))
            except (KeyError, IndexError, ZeroDivisionError):
                pass
        return values

    def median(self, scenario, peer, column):
        """The median of all rounds; None without any."""
        values = self.values(scenario, peer, column)
        return statistics.median(values) if values else None

    def ratio(self, scenario, peer, other, column):
        """How one peer's median stands to another's; None when either was not measured."""
        one, two = self.median(scenario, peer, column), self.median(scenario, other, column)
        return one / two if one is not None and two else None

    def peers(self, scenario):
        return list(self.found.get(scenario, {}))
