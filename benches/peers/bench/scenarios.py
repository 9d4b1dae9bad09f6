"""What is measured, as data."""

from dataclasses import dataclass, field

from .machine import raise_limits
from .peers import Settings

OURS = ("cloakroom", "cloakroom-arguments")
ALL = ("relay", "nginx", "nginx-map", "haproxy", "haproxy-map", "envoy", *OURS)
RIVALS = ("relay", "nginx-map", "haproxy-map", "cloakroom")

COLD_USERS = 10_000
CACHED_USERS = 100_000


def many_streams():
    """10,000, or what the limit of descriptors leaves: a stream takes two, and Cloakroom keeps a third of them
    for its clients."""
    return min(10_000, (raise_limits() - 500) // 3 // 1000 * 1000)


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    peers: tuple
    """Those it means something for."""
    load: tuple = ()
    """What the load generator is told; without, nothing is sent."""
    mode: str = "two"
    """"two": the proxy has a processor alone; "one": all share one; "both": all share both."""
    origin: tuple = ()
    """What the origin is told."""
    settings: Settings = field(default_factory=Settings)
    rounds: int = 99
    """At most; some figures hardly vary, and take long."""
    asked: bool = False
    """Only when asked for by name."""


def calls(connections, *more):
    return ("calls", "--connections", connections, *more)


def streams(count):
    return ("streams", "--streams", count, "--ramp", 1000)


def all_scenarios():
    many = many_streams()
    return [
        Scenario("cpu", "32 connections, proxy alone on a core", ALL, calls(32)),
        Scenario("cpu-one-core", "32 connections, everything on one core", ALL, calls(32), mode="one"),
        Scenario("latency-1", "1 connection", RIVALS, calls(1)),
        Scenario("latency-5000", "5,000 requests/s at a constant rate over 32 connections", RIVALS,
                 calls(32, "--rate", 5000)),
        Scenario("many", "256 connections", (*RIVALS, "envoy"), calls(256)),
        Scenario("sse", "1,000 streams, an event a second on each", (*RIVALS, "envoy"), streams(1000),
                 settings=Settings(streams=1000)),
        Scenario("sse-burst", "1,000 streams, an event a second on each, all at the same moment",
                 (*RIVALS, "envoy"), streams(1000), origin=("--events-together",), settings=Settings(streams=1000)),
        Scenario("sse-many", f"{many:,} streams, an event a second on each", ("nginx-map", "haproxy-map", "cloakroom"),
                 streams(many), settings=Settings(streams=many), rounds=2),
        Scenario("start", "from the start to the first answer, and memory 2 s later", ALL[:-1]),
        Scenario("body", "a tools/call of 1 MiB, 8 connections", (*RIVALS, "cloakroom-arguments"),
                 calls(8, "--body-size", 1 << 20), rounds=3),
        Scenario("answer", "an answer of 100 MiB, 1 connection", RIVALS, calls(1, "--answer-size", 100 << 20),
                 rounds=3),
        Scenario("tls", "32 connections with TLS 1.3", ("nginx-map", "haproxy-map", "cloakroom"),
                 calls(32), settings=Settings(tls=True)),
        Scenario("cores-1", "256 connections, one thread, everything on one core", ("nginx-map", "cloakroom"),
                 calls(256), mode="one", rounds=3),
        Scenario("cores-2", "256 connections, two threads, everything on two cores", ("nginx-map", "cloakroom"),
                 calls(256), mode="both", settings=Settings(threads=2), rounds=3),
        Scenario("cold-sqlite", f"{COLD_USERS:,} keys, each for the first time, store SQLite", ("cloakroom",),
                 calls(32, "--each-user"), settings=Settings(users=COLD_USERS), rounds=3),
        Scenario("cold-redis", f"{COLD_USERS:,} keys, each for the first time, store Redis", ("cloakroom",),
                 calls(32, "--each-user"), settings=Settings(users=COLD_USERS, store="redis"), rounds=3),
        Scenario("soak", "256 connections for all of --seconds", ("nginx-map", "cloakroom"), calls(256), rounds=1,
                 asked=True),
        Scenario("users", f"{CACHED_USERS:,} keys, each once: memory when all are cached", ("cloakroom",),
                 calls(32, "--each-user"), settings=Settings(users=CACHED_USERS), rounds=1, asked=True),
    ]
