"""The Dockerfile's last stage as a folder, made from what the Dockerfile says, so that they cannot drift.

The binary is the debug one, which is not static: the libraries it needs are put beside it. All else is
as in the image.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass
class Image:
    """What an engine would run."""

    root: Path
    user: int = 0
    group: int = 0
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    exposed: set[int] = field(default_factory=set)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Those of the last stage, without comments and continuations."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.M).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    parsed = [(word.upper(), rest.strip()) for word, rest in lines]
    last = max(index for index, (word, _) in enumerate(parsed) if word == "FROM")
    return parsed[last:]


def make(dockerfile: Path, root: Path, binary: Path) -> Image:
    """Follows every instruction of the last stage; one it does not know is an error."""
    image = Image(root)
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            if rest != "scratch":
                raise SystemExit(f"{dockerfile}: the last stage is not FROM scratch")
        elif word == "COPY":
            copy(image, rest, binary)
        elif word == "ENV":
            name, value = rest.split("=", 1)
            image.env[name] = shlex.split(value)[0]
        elif word == "USER":
            image.user, image.group = (int(number) for number in rest.split(":"))
        elif word == "EXPOSE":
            image.exposed = {int(port) for port in rest.split()}
        elif word == "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        elif word == "CMD":
            image.cmd = json.loads(rest)
        elif word == "HEALTHCHECK":
            image.healthcheck = json.loads(rest.split("CMD", 1)[1])
        else:
            raise SystemExit(f"{dockerfile}: what does {word} do? teach tests/deploy/image.py")
    return image


def copy(image: Image, rest: str, binary: Path) -> None:
    words = shlex.split(rest)
    flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    source, target = [word for word in words if not word.startswith("--")]
    unknown = flags.keys() - {"from", "chmod", "chown"}
    sources = {"/out/cloakroom": binary, str(CERTIFICATES): CERTIFICATES, "/out/data": None}
    if unknown or flags.get("from") != "build" or source not in sources:
        raise SystemExit(f"what does COPY {rest} do? teach tests/deploy/image.py")
    path = image.root / target.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if sources[source] is None:
        path.mkdir()
    else:
        shutil.copyfile(sources[source], path)
    mode = int(flags["chmod"], 8) if "chmod" in flags else 0o644
    path.chmod(mode)
    if "chown" in flags:
        user, group = flags["chown"].split(":")
        shutil.chown(path, int(user), int(group))
    if sources[source] == binary:
        libraries(image.root, binary)


def libraries(root: Path, binary: Path) -> None:
    """What a binary that is not static needs; nothing of one that is."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", said):
        beside = root / library.lstrip("/")
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, beside)
        beside.chmod(0o755)
