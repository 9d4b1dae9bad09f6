"""The goals, each judged by what was measured in this run."""

from dataclasses import dataclass
from statistics import median
from typing import Callable


@dataclass(frozen=True)
class Build:
    """What one build of Cloakroom is called in the measurements."""

    label: str

    @property
    def header(self):
        return "cloakroom" + self.suffix

    @property
    def arguments(self):
        return "cloakroom-arguments" + self.suffix

    @property
    def suffix(self):
        return f"@{self.label}" if self.label else ""


@dataclass(frozen=True)
class Goal:
    number: str
    text: str
    limit: float
    values: Callable
    """Of the figures and a build: what was measured, by round."""
    at_least: bool = False

    def judge(self, figures, build):
        """The values, and whether their median meets the limit."""
        values = list(self.values(figures, build).values())
        if not values:
            return values, "not measured"
        middle = median(values)
        met = middle >= self.limit if self.at_least else middle <= self.limit
        return values, "met" if met else "NOT MET"


def own(scenario, column):
    return lambda figures, build: figures.values(scenario, build.header, column)


def against(scenario, other, column="cpu_us_each"):
    return lambda figures, build: figures.quotients((scenario, build.header, column), (scenario, other, column))


def arguments(scenario):
    """Injection into the body, to injection into a header."""
    return lambda figures, build: figures.quotients(
        (scenario, build.arguments, "cpu_us_each"), (scenario, build.header, "cpu_us_each"))


def within(scenario, column, other_scenario, other_column):
    """One of our own figures by another."""
    return lambda figures, build: figures.quotients(
        (scenario, build.header, column), (other_scenario, build.header, other_column))


def bodies_in_memory(figures, build):
    """What 8 requests of 1 MiB with an argument take at most, as a multiple of their bodies."""
    grown = figures.values("body", build.arguments, "grown_mib")
    return {number: value / 8 for number, value in grown.items()}


def in_both_modes(number, text, limit, values):
    return [
        Goal(number, f"CPU per request, {text}", limit, values("cpu")),
        Goal(number, f"CPU per request, {text}, all on one core", limit, values("cpu-one-core")),
    ]


GOALS = [
    *in_both_modes("1", "to nginx with map", 1.0, lambda scenario: against(scenario, "nginx-map")),
    *in_both_modes("1", "to Envoy", 0.35, lambda scenario: against(scenario, "envoy")),
    *in_both_modes("1", "to the relay", 1.6, lambda scenario: against(scenario, "relay")),
    *in_both_modes("1 moonshot", "to the relay", 1.3, lambda scenario: against(scenario, "relay")),
    *in_both_modes("1", "arguments to header", 1.1, arguments),
    Goal("2", "p50 at 1 connection, to nginx with map", 1.05, against("latency-1", "nginx-map", "p50")),
    Goal("2", "p99 at 1 connection, to nginx with map", 1.05, against("latency-1", "nginx-map", "p99")),
    Goal("2", "p50 at 5,000/s, to nginx with map", 1.05, against("latency-5000", "nginx-map", "p50")),
    Goal("2", "p99 at 5,000/s, to nginx with map", 1.05, against("latency-5000", "nginx-map", "p99")),
    Goal("2", "requests/s at 256 connections, to nginx with map", 1.0, against("many", "nginx-map", "per_second"),
         at_least=True),
    Goal("2", "p99.9 at 256 connections, to p50", 3.0, within("many", "p999", "many", "p50")),
    Goal("3", "CPU per event, to nginx unbuffered", 0.9, against("sse", "nginx-map")),
    Goal("3", "CPU per event, all at once, to nginx unbuffered", 0.9, against("sse-burst", "nginx-map")),
    Goal("3", "KiB a stream at 1,000, to nginx", 1.0, against("sse", "nginx-map", "kib_each")),
    Goal("3", "KiB a stream at 1,000", 18.0, own("sse", "kib_each")),
    Goal("3 moonshot", "KiB a stream at 1,000", 10.0, own("sse", "kib_each")),
    Goal("3", "KiB a stream with many, to 1,000", 1.0, within("sse-many", "kib_each", "sse", "kib_each")),
    Goal("4", "MiB (RSS) idle", 10.0, own("start", "idle_rss_mib")),
    Goal("4", "MiB (PSS) under 256 connections, to nginx with map", 1.0, against("many", "nginx-map", "pss_mib")),
    Goal("4", "MiB (RSS) after a soak, to after a short load", 1.1, within("soak", "rss_mib", "many", "rss_mib")),
    Goal("4", "MiB (RSS) with 100,000 cached users", 60.0, own("users", "rss_mib")),
    Goal("5", "ms from the start to the first answer", 50.0, own("start", "first_answer_ms")),
    Goal("6", "CPU for 1 MiB, arguments to header", 2.0, arguments("body")),
    Goal("6", "memory for 1 MiB with an argument, to the body", 2.0, bodies_in_memory),
    Goal("6", "MiB grown by an answer of 100 MiB", 10.0, own("answer", "grown_mib")),
    Goal("7", "CPU per request with TLS, to nginx with TLS", 1.15, against("tls", "nginx-map")),
    Goal("8", "requests/s of two cores, to one", 1.8, within("cores-2", "per_second", "cores-1", "per_second"), True),
    Goal("8", "CPU of the less busy thread, to the busier", 0.9, own("cores-2", "evenness"), True),
]

NOT_HERE = ("5: that 1,000 waiting requests cause one load (a test does that); "
            "9: a million users. The bound of 6 for a large answer (10 MiB) is this bench's reading of \"constant\".")
