"""A server whose tools want the secret as an argument: set by the proxy, and hidden from the client.

The suites run through it as well (see run.py), and end as at the same server without the argument. They
fail when `set_arguments` in src/layer/splice.rs sets none, or when `call` in src/layer/mirror.rs adds no
header.
"""

from __future__ import annotations

import hashlib
import secrets

from harness import Report
from proxy import Proxy, User

NAME = "cloak_token"
SECRET = "CLOAK_TOKEN"
# What goes behind a server's settings.
SLOT = f'arguments = {{ {NAME} = "${{{SECRET}}}" }}\n'


def value() -> str:
    """A secret that must be escaped in JSON and encoded in a header."""
    return f'fixture "own" \\ Zürich 😀 {secrets.token_hex(8)}'


def mode(secret: str) -> tuple[str, str]:
    """The fixture's options for it."""
    return "--require-argument", hashlib.sha256(secret.encode()).hexdigest()


def set_for(proxy: Proxy, server: str, user: User, secret: str) -> None:
    proxy.command("secret", "set", user.name, server, SECRET, stdin=secret)


def check_log(report: Report, proxy: Proxy, secrets: list[str]) -> None:
    log = (proxy.folder / "proxy.log").read_text(errors="replace")
    found = [secret for secret in secrets if secret.rsplit(" ", 1)[-1] in log]
    report.check("log", "no secret of an argument is in the proxy's log", not found, f"{len(found)} are")
