"""The goals, each judged by what was measured in this run."""

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Goal:
    number: str
    text: str
    limit: float
    value: Callable
    """Of the figures and one Cloakroom build's pair of names; None when it was not measured."""
    at_least: bool = False

    def judge(self, figures, build):
        value = self.value(figures, build)
        if value is None:
            return None, "not measured"
        met = value >= self.limit if self.at_least else value <= self.limit
        return value, "met" if met else "NOT MET"


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


def against(scenario, other, column="cpu_us_each"):
    return lambda figures, build: figures.ratio(scenario, build.header, other, column)


def own(scenario, column):
    return lambda figures, build: figures.median(scenario, build.header, column)


def arguments(scenario):
    return lambda figures, build: figures.ratio(scenario, build.arguments, build.header, "cpu_us_each")


def starvation(figures, build):
    p50, p999 = (figures.median("many", build.header, column) for column in ("p50", "p999"))
    return p999 / p50 if p50 else None


def growth(scenario, name, bodies):
    """The most memory, as a multiple of the bodies that are under way."""
    def value(figures, build):
        grown = figures.median(scenario, getattr(build, name), "grown_mib")
        return None if grown is None else grown / bodies
    return value


def scaling(figures, build):
    one, two = (figures.median(name, build.header, "per_second") for name in ("cores-1", "cores-2"))
    return two / one if one and two else None


def in_both_modes(number, text, limit, other):
    return [
        Goal(number, f"CPU per request, {text}", limit, against("cpu", other)),
        Goal(number, f"CPU per request, {text}, all on one core", limit, against("cpu-one-core", other)),
    ]


GOALS = [
    *in_both_modes("1", "to nginx with map", 1.0, "nginx-map"),
    *in_both_modes("1", "to Envoy", 0.35, "envoy"),
    *in_both_modes("1", "to the relay", 1.6, "relay"),
    *in_both_modes("1 moonshot", "to the relay", 1.3, "relay"),
    Goal("1", "CPU per request, arguments to header", 1.1, arguments("cpu")),
    Goal("1", "CPU per request, arguments to header, all on one core", 1.1, arguments("cpu-one-core")),
    Goal("2", "p50 at 1 connection, to nginx with map", 1.05, against("latency-1", "nginx-map", "p50")),
    Goal("2", "p99 at 1 connection, to nginx with map", 1.05, against("latency-1", "nginx-map", "p99")),
    Goal("2", "p50 at 5,000/s, to nginx with map", 1.05, against("latency-5000", "nginx-map", "p50")),
    Goal("2", "p99 at 5,000/s, to nginx with map", 1.05, against("latency-5000", "nginx-map", "p99")),
    Goal("2", "requests/s at 256 connections, to nginx with map", 1.0, against("many", "nginx-map", "per_second"), True),
    Goal("2", "p99.9 at 256 connections, to p50", 3.0, starvation),
    Goal("3", "CPU per event, to nginx unbuffered", 0.9, against("sse", "nginx-map")),
    Goal("3", "KiB a stream at 1,000, to nginx", 1.0, against("sse", "nginx-map", "kib_each")),
    Goal("3", "KiB a stream at 1,000", 18.0, own("sse", "kib_each")),
    Goal("3 moonshot", "KiB a stream at 1,000", 10.0, own("sse", "kib_each")),
    Goal("3", "KiB a stream with many, to 1,000", 1.0,
         lambda figures, build: quotient(own("sse-many", "kib_each"), own("sse", "kib_each"), figures, build)),
    Goal("4", "MiB idle", 10.0, own("start", "idle_mib")),
    Goal("4", "MiB under 256 connections, to nginx with map", 1.0, against("many", "nginx-map", "rss_mib")),
    Goal("4", "MiB after a soak, to before", 1.0,
         lambda figures, build: quotient(own("soak", "rss_mib"), own("many", "rss_mib"), figures, build)),
    Goal("5", "ms to the first answer", 50.0, own("start", "first_answer_ms")),
    Goal("6", "CPU for 1 MiB, arguments to header", 2.0, arguments("body")),
    Goal("6", "memory for 1 MiB with an argument, to the body", 2.0, growth("body", "arguments", 8)),
    Goal("6", "MiB grown by an answer of 100 MiB", 10.0, growth("answer", "header", 1)),
    Goal("7", "CPU per request with TLS, to nginx with TLS", 1.15, against("tls", "nginx-map")),
    Goal("8", "requests/s of two cores, to one", 1.8, scaling, True),
    Goal("8", "CPU of the less busy thread, to the busier", 0.9, own("cores-2", "evenness"), True),
]


def quotient(one, other, figures, build):
    above, below = one(figures, build), other(figures, build)
    return above / below if above is not None and below else None


NOT_HERE = [
    "4: 100,000 cached users. 5: 1,000 waiting requests cause one load (a test has that). 9: a million users.",
]
