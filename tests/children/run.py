#!/usr/bin/env python3
"""Servers that are started, one child for each user, against the real proxy.

    python3 tests/children/run.py [--only PART] [--calls N] [--cycles N] [--minutes N]

Wants nothing but Linux with Landlock and the debug binary, or $CLOAKROOM_BIN. Larger numbers make a soak
of it: --calls 1000000 --cycles 5000 --minutes 120. As it is called by tests/run.sh it takes some minutes.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

# The module of each, and the seconds it may take.
PARTS = {"mixup": 240, "cycles": 180, "endings": 60, "sleeping": 120, "stealing": 60, "added": 30}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=PARTS)
    options.add_argument("--calls", type=int, default=10_000, help="of the mix-up, in all")
    options.add_argument("--cycles", type=int, default=1500, help="children that are started and stopped")
    options.add_argument("--minutes", type=float, help="how long one part may take")
    given = options.parse_args()
    failed = 0
    for name in [given.only] if given.only else PARTS:
        seconds = given.minutes * 60 if given.minutes else PARTS[name]
        began = time.monotonic()
        try:
            wrong, figures = importlib.import_module(name).run(calls=given.calls, cycles=given.cycles, seconds=seconds)
        except Exception:  # noqa: BLE001
            wrong, figures = [traceback.format_exc()], "it broke off"
        took = time.monotonic() - began
        if took > seconds * 1.5:
            wrong.append(f"it took {took:.0f} s, more than {seconds * 1.5:.0f} s")
        print(f"{'FAILED' if wrong else 'ok'}  {name} ({took:.0f} s): {figures}", flush=True)
        for what in wrong:
            print(f"  WRONG {what}", flush=True)
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
