"""The compose file: every service hardened, every file it names there, nothing reachable that should not be."""

from __future__ import annotations

import re
import shlex
import subprocess

import yaml

from report import DEPLOY, Report

COMPOSE = DEPLOY / "compose" / "compose.yaml"
# What a service may say (compose specification), of which these use a part. A misspelt key is found so.
KNOWN = {
    "image", "build", "ports", "env_file", "configs", "secrets", "networks", "depends_on", "healthcheck",
    "mem_limit", "pids_limit", "stop_grace_period", "read_only", "cap_drop", "security_opt", "restart", "user",
    "command", "volumes", "environment", "tmpfs",
}  # fmt: skip


def run(report: Report) -> None:
    def check(what: str, ok: object, why: object = "") -> None:
        report.check("compose", what, bool(ok), why)

    document = yaml.safe_load(COMPOSE.read_text())
    services = document["services"]
    check("three services", set(services) == {"cloakroom", "redis", "everything"})
    for name, service in services.items():
        check(f"{name} has known keys only", service.keys() <= KNOWN, service.keys() - KNOWN)
        check(f"{name} has a read-only root", service["read_only"] is True)
        check(f"{name} drops all capabilities", service["cap_drop"] == ["ALL"])
        check(f"{name} gains no privileges", service["security_opt"] == ["no-new-privileges:true"])
        check(f"{name} is not root", "UID" in service["user"])
        check(f"{name} is asked whether it is well", service["healthcheck"]["test"][0] == "CMD")
        check(f"{name} is bounded", {"mem_limit", "pids_limit"} <= service.keys())
        check(f"{name} has an image with a version", re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-[a-z-]+)?", service["image"]))
        for kind in ("configs", "secrets"):
            named = {each["source"] for each in service.get(kind, [])}
            check(f"{name} names {kind} there are", named <= document.get(kind, {}).keys(), named)
        check(f"{name} names networks there are", set(service["networks"]) <= document["networks"].keys())
    check("only Cloakroom publishes a port, on loopback", [(n, s["ports"]) for n, s in services.items() if "ports" in s] == [("cloakroom", ["127.0.0.1:8080:8080"])])
    check("Redis reaches nobody but those who ask it", document["networks"]["store"]["internal"] and services["redis"]["networks"] == ["store"])
    check("the server is in a network with Cloakroom alone", services["everything"]["networks"] == ["servers"])
    for each in document["configs"].values():
        check(f"{each['file']} is there", (COMPOSE.parent / each["file"]).is_file())
    ignored = (COMPOSE.parent / ".gitignore").read_text()
    named = [each["file"] for each in document["secrets"].values()] + [services["cloakroom"]["env_file"]]
    check("every secret is where git does not look", all("secrets/" in file for file in named) and "\nsecrets/\n" in ignored)
    build = services["cloakroom"]["build"]
    check("it builds what the Dockerfile says", (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile")
    script = DEPLOY / "make-secrets.sh"
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
    check(f"{shlex.quote(script.name)} is a script", done.returncode == 0, done.stderr)
