"""What deny.toml says of licences, bans and sources, held against the lock file without any network.

    python tests/deny.py

cargo-deny does all of it and more (advisories); it takes minutes to build and its database is fetched
from GitHub. Where it is installed tests/run.sh runs it as well. This reads the same file, as far as it goes,
so that one place says what is allowed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def shipped(targets: list[str]) -> list[dict]:
    """The packages that are in the binary or build it, not those of tests."""
    wanted = [word for target in targets for word in ("--target", target)]
    command = ["cargo", "tree", "--locked", "--edges", "normal,build", *wanted]
    command += ["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    sources = {(package["name"], package["version"]): package.get("source") for package in lock}
    packages = {}
    for line in (line for line in lines if "|" in line):
        package, licence = line.split("|", 1)
        name, version = package.split()[:2]
        version = version.removeprefix("v")
        source = sources[name, version]
        packages[name, version] = {"name": name, "version": version, "license": licence or None, "source": source}
    return [packages[key] for key in sorted(packages)]


def allowed(expression: str, licences: set[str]) -> bool:
    """Whether an SPDX expression can be met with these licences."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either() -> bool:
        met = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            met = either()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in licences

    return either()


def is_of(package: dict, spec: str) -> bool:
    """Whether it is `name` or `name@2`, of any version that begins so."""
    name, _, version = spec.partition("@")
    return package["name"] == name and f"{package['version']}.".startswith(f"{version}." if version else "")


def problems(rules: dict, packages: list[dict]) -> list[str]:
    found = []
    licences = set(rules["licenses"]["allow"])
    exceptions = {each["crate"]: set(each["allow"]) for each in rules["licenses"].get("exceptions", [])}
    known = set(rules["sources"]["allow-registry"])
    banned = {each["crate"]: each.get("reason", "") for each in rules["bans"]["deny"]}
    skipped = {each["crate"] for each in rules["bans"]["skip"]}
    versions: dict[str, list[str]] = {}
    for package in packages:
        name, version = package["name"], package["version"]
        called = f"{name} {version}"
        also = exceptions.get(name, set())
        licence = package["license"]
        if licence is None or not allowed(licence, licences | also):
            found.append(f"{called}: the licence {licence} is not among those allowed")
        source = package["source"]
        if source is not None and source.removeprefix("registry+") not in known:
            found.append(f"{called}: comes from {source}")
        if name in banned:
            found.append(f"{called}: banned: {banned[name]}")
        if not any(is_of(package, spec) for spec in skipped):
            versions.setdefault(name, []).append(version)
    for name, several in versions.items():
        if len(several) > 1:
            found.append(f"{name}: in versions {', '.join(several)}; agree on one, or skip one with a reason")
    return found


def main() -> int:
    assert allowed("(MIT OR X) AND Apache-2.0", {"MIT", "Apache-2.0"}) and not allowed("MIT AND X", {"MIT"})
    assert not allowed("GPL-3.0 WITH Y", {"GPL-3.0"}) and allowed("MIT/X", {"MIT"})
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    packages = shipped(rules["graph"]["targets"])
    found = problems(rules, packages)
    for problem in found:
        print(problem)
    for each in rules["bans"]["skip"]:
        if not any(is_of(package, each["crate"]) for package in packages):
            found.append(each["crate"])
            print(f"{each['crate']}: skipped in deny.toml, and not there any more: take it out")
    print(f"{len(packages)} packages, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
