"""What deploy/ holds: manifests, compose file, systemd unit, and the container's own command.

    python tests/deploy/run.py [--render] [--count FILE]

Run by tests/run.sh as root, which the container's check needs. $CLOAKROOM_BIN names another binary to
test. `--render` writes tests/deploy/rendered/ anew, which needs kubectl 1.27 or newer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import compose
import container
import manifests
import systemd
from report import Report


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--count", type=Path)
    args = parser.parse_args()
    if args.render:
        manifests.render_all()
        return 0
    report = Report()
    try:
        manifests.run(report)
        compose.run(report)
        systemd.run(report)
        container.run(report)
    finally:
        report.summary()
        if args.count:
            args.count.write_text(f"{report.passed} passed, {len(report.failures)} failed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
