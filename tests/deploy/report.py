"""Where things are, and the count."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEPLOY = ROOT / "deploy"


class Report:
    """Counts checks and prints every failure at once."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._passed: Counter[str] = Counter()

    def check(self, group: str, name: str, ok: bool, why: object = "") -> bool:
        if ok:
            self._passed[group] += 1
        else:
            line = f"{group}: {name}" + (f": {why}" if why else "")
            self.failures.append(line)
            print(f"FAILED {line}", flush=True)
        return ok

    @property
    def passed(self) -> int:
        return self._passed.total()

    def summary(self) -> None:
        for group, count in self._passed.items():
            print(f"  {group:<40} {count:>4} passed")
        print(f"  {self.passed} passed, {len(self.failures)} failed", flush=True)


def binary() -> Path:
    """The binary to test: the debug one, built if it is not up to date."""
    named = os.environ.get("CLOAKROOM_BIN")
    if named:
        return Path(named)
    subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=ROOT, check=True)
    return ROOT / "target" / "debug" / "cloakroom"


def without_ours() -> dict[str, str]:
    """This environment, but for what would configure Cloakroom."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
