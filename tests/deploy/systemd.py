"""The systemd unit, as far as systemd judges one without running it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from report import DEPLOY, Report, binary, without_ours

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
        works(report, Path(folder))
        report.check("systemd", "it is exposed by 2.0 of 10 at most", level and float(level[1]) <= 2.0, done.stdout[-200:])


def works(report: Report, folder: Path) -> None:
    """What `init` wrote, with the unit's variables and the credential it loads: the keyring is found."""
    unit = UNIT.read_text()
    variables = dict(re.findall(r"^Environment=([A-Z_]+)=(.*)$", unit, re.M))
    kept = variables.get("CLOAKROOM_DATA_DIR", "").startswith("/var/lib/cloakroom/")
    report.check("systemd", "the audit trail goes where the service may write", kept, variables)
    (name, source), *_ = re.findall(r"^LoadCredential=([^:]+):(.*)$", unit, re.M)
    house = folder / "etc"
    made = [binary(), "init", "--dir", house, "--url", "http://127.0.0.1:9/mcp"]
    subprocess.run(made, check=True, capture_output=True, env=without_ours(), timeout=60)
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / name).write_bytes((house / Path(source).name).read_bytes())
    (credentials / name).chmod(0o440)
    # The service cannot read root's own file.
    (house / Path(source).name).unlink()
    config = house / "cloakroom.toml"
    config.write_text(config.read_text().replace(":8080", ":0"))
    done = subprocess.run(
        [binary(), "check", "--offline", "--config", config],
        capture_output=True,
        text=True,
        env={**without_ours(), **variables, "CREDENTIALS_DIRECTORY": str(credentials)},
        timeout=60,
    )
    report.check("systemd", "what init wrote works with it", done.returncode == 0, done.stdout + done.stderr)
