"""How a client script tells its results: a line for each check, read by run.py."""

from __future__ import annotations

import asyncio
import json
import os
from types import SimpleNamespace


def peers() -> SimpleNamespace:
    """Where the proxy is, and who may use it (see run.py)."""
    return json.loads(os.environ["PEERS"], object_hook=lambda found: SimpleNamespace(**found))


def bearer(user) -> dict[str, str]:
    return {"Authorization": f"Bearer {user.key}"}


def said(result) -> str:
    return result.content[0].text


def root(error: BaseException) -> BaseException:
    """What went wrong first, of what task groups tell."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def check(name: str, work, seconds: float = 60) -> None:
    """Run one check; it fails by raising."""
    try:
        await asyncio.wait_for(work, seconds)
    except (Exception, asyncio.CancelledError) as caught:
        error = root(caught)
        why = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(f"not ok {name}: {why}", flush=True)
    else:
        print(f"ok {name}", flush=True)


def same(got, wanted, what: str = "") -> None:
    if got != wanted:
        raise AssertionError(f"{what or 'got'}: {got!r}, wanted {wanted!r}")


def reach(url: str, name: str, value: str) -> SimpleNamespace:
    """One side of a comparison: where to call, and with which header."""
    return SimpleNamespace(url=url, headers={name: value})


def sides(direct: str, proxied: str, user, key_header: str = "Authorization") -> tuple[SimpleNamespace, SimpleNamespace]:
    """A server called with a user's own secret, and through the proxy with that user's key."""
    value = user.key if key_header == "X-API-Key" else f"Bearer {user.key}"
    return reach(direct, "Authorization", f"Bearer {user.token}"), reach(proxied, key_header, value)


async def compare(walk, direct, proxied, steps: int) -> dict:
    """The same steps on both sides, at once: equal answers, step by step; the transcript, to look at."""
    wanted, got = await asyncio.gather(walk(direct), walk(proxied))
    assert len(wanted) == steps, f"{len(wanted)} steps directly, not {steps}: {list(wanted)}"
    for step in wanted:
        same(got.get(step), wanted[step], f"{step} through the proxy")
    same(list(got), list(wanted), "steps through the proxy")
    return got
