"""The systemd unit, as far as systemd judges one without running it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from report import DEPLOY, Report, binary

UNIT = DEPLOY / "systemd" / "cloakroom.service"


def run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / UNIT.name
        # The program must be there to be named.
        unit.write_text(UNIT.read_text().replace("/usr/local/bin/cloakroom", str(binary())))
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
        # It may complain of the machine's own units.
        ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
        report.check("systemd", "the unit is one", done.returncode == 0 and not ours, done.stderr)
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True, timeout=60
        )
        level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
        report.check("systemd", "it is exposed by 2.0 of 10 at most", level and float(level[1]) <= 2.0, done.stdout[-200:])
