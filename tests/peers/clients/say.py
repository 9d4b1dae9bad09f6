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


def _root(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def check(name: str, work, seconds: float = 20) -> None:
    """Run one check; it fails by raising."""
    try:
        await asyncio.wait_for(work, seconds)
    except (Exception, asyncio.CancelledError) as caught:
        error = _root(caught)
        why = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(f"not ok {name}: {why}", flush=True)
    else:
        print(f"ok {name}", flush=True)


def same(got, wanted, what: str = "") -> None:
    if got != wanted:
        raise AssertionError(f"{what or 'got'}: {got!r}, wanted {wanted!r}")
