"""The Kubernetes manifests: rendered, held to the schemas of two Kubernetes versions, and to rules of ours.

What kubectl renders is committed in `rendered/`, with the digest of what it was made of. Where there is
a kubectl, it renders again and both must be the same; where there is none, the digest says whether the
sources changed since. (Debian's own kubectl, 1.20, is too old.)
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import yaml

from report import DEPLOY, HERE, Report, binary, without_ours

KUBERNETES = DEPLOY / "kubernetes"
RENDERED = HERE / "rendered"
# What is rendered, and how it is called there.
ROOTS = {"base": "base", "gateway": "examples/gateway", "sidecar": "examples/sidecar"}
OLDEST = "1.29"
FIRST_LINE = "# Rendered by kubectl kustomize, see tests/deploy/manifests.py; sources sha256:"


def digest() -> str:
    """Of every source, by name and content."""
    whole = hashlib.sha256()
    for path in sorted(KUBERNETES.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            whole.update(f"{path.relative_to(KUBERNETES)} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def render(name: str) -> str:
    command = ["kubectl", "kustomize", str(KUBERNETES / ROOTS[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def render_all() -> None:
    RENDERED.mkdir(exist_ok=True)
    for name in ROOTS:
        (RENDERED / f"{name}.yaml").write_text(f"{FIRST_LINE}{digest()}\n{render(name)}")


def can_render() -> bool:
    """Whether there is a kubectl whose kustomize is 5 or newer, as from 1.27 on."""
    if not shutil.which("kubectl"):
        return False
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=60)
    version = re.search(r"Kustomize Version: v(\d+)", said.stdout)
    return bool(version) and int(version[1]) >= 5


def run(report: Report) -> None:
    again = can_render()
    if not again:
        print("no kubectl of 1.27 or newer: what it rendered before is checked, and that nothing changed since")
    for name in ROOTS:
        first, text = (RENDERED / f"{name}.yaml").read_text().split("\n", 1)
        remedy = "run `python tests/deploy/run.py --render` with kubectl 1.27 or newer"
        report.check("rendered", f"{name} is of these sources", first == FIRST_LINE + digest(), remedy)
        if again:
            report.check("rendered", f"{name} is what kubectl renders", render(name) == text, remedy)
        documents = list(yaml.safe_load_all(text))
        schemas(report, name, documents)
        rules(report, name, documents)
    settings(report)


def called(document: dict) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def schemas(report: Report, name: str, documents: list[dict]) -> None:
    for version in (OLDEST, kubernetes_validate.latest_version()):
        for document in documents:
            if document["apiVersion"].startswith("monitoring.coreos.com/"):
                continue  # A definition of its own, no part of Kubernetes; the component says so.
            why = ""
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                why = f"{error.message} at {list(error.absolute_path)}"
            report.check(f"schema {version}", f"{name} {called(document)}", not why, why)


def pods(documents: list[dict]) -> Iterator[tuple[str, dict]]:
    for document in documents:
        if "template" in document.get("spec", {}):
            yield called(document), document["spec"]["template"]


def rules(report: Report, name: str, documents: list[dict]) -> None:
    def check(what: str, ok: bool, why: object = "") -> None:
        report.check("rules", f"{name}: {what}", bool(ok), why)

    kinds: dict[str, list[dict]] = {}
    for document in documents:
        kinds.setdefault(document["kind"], []).append(document)
    check("no Secret is in the source", "Secret" not in kinds)
    for owner, template in pods(documents):
        spec, labels = template["spec"], template["metadata"]["labels"]
        pod(check, owner, spec)
        selected = [
            (kind, document)
            for kind, path in (("NetworkPolicy", ("podSelector",)), ("PodDisruptionBudget", ("selector",)))
            for document in kinds.get(kind, [])
            if selects(document["spec"][path[0]], labels)
        ]
        own = [document for kind, document in selected if kind == "NetworkPolicy" and document["spec"]["podSelector"]]
        check(f"{owner} has a NetworkPolicy of its own", own)
        if owner.startswith("Deployment/"):
            check(f"{owner} has a PodDisruptionBudget", any(kind == "PodDisruptionBudget" for kind, _ in selected))
            replicas = next(d for d in kinds["Deployment"] if called(d) == owner)["spec"]["replicas"]
            check(f"{owner} has two replicas", replicas >= 2)
    services(check, documents, kinds)
    cloakroom(check, documents, kinds)


def selects(selector: dict, labels: dict) -> bool:
    wanted = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    return all(labels.get(key) == value for key, value in wanted.items())


def pod(check, owner: str, spec: dict) -> None:
    context = spec.get("securityContext", {})
    check(f"{owner} is not root", context.get("runAsNonRoot") is True)
    check(f"{owner} has the default seccomp profile", context.get("seccompProfile") == {"type": "RuntimeDefault"})
    check(f"{owner} gets no token", spec.get("automountServiceAccountToken") is False)
    check(f"{owner} shares nothing of the node", not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys())
    check(f"{owner} mounts nothing of the node", all("hostPath" not in volume for volume in spec.get("volumes", [])))
    containers = spec["containers"] + spec.get("initContainers", [])
    for each in containers:
        name = f"{owner} {each['name']}"
        own = each.get("securityContext", {})
        check(f"{name} is not root", own.get("runAsNonRoot") is True)
        user = own.get("runAsUser", context.get("runAsUser"))
        check(f"{name} has a number for a user", isinstance(user, int) and user > 0, user)
        check(f"{name} has a read-only root", own.get("readOnlyRootFilesystem") is True)
        check(f"{name} gains no privileges", own.get("allowPrivilegeEscalation") is False)
        check(f"{name} is not privileged", not own.get("privileged"))
        check(f"{name} drops all capabilities", own.get("capabilities") == {"drop": ["ALL"]})
        check(f"{name} has the default seccomp profile", own.get("seccompProfile") == {"type": "RuntimeDefault"})
        limits = each.get("resources", {}).get("limits", {})
        check(f"{name} has limits", {"cpu", "memory"} <= limits.keys())
        check(f"{name} has an image with a version", re.fullmatch(r"[^:@]+(:\d[^:@]*)(@sha256:[0-9a-f]{64})?", each["image"]))
        secrets = [e["name"] for e in each.get("env", []) if "value" in e and re.search(r"TOKEN|PASSWORD|SECRET|STORE__URL|KEYRING$", e["name"])]
        check(f"{name} has no secret written in it", not secrets, secrets)
        if each["name"] in ("cloakroom", "redis"):
            check(f"{name} has all probes", {"startupProbe", "readinessProbe", "livenessProbe"} <= each.keys())


def services(check, documents: list[dict], kinds: dict[str, list[dict]]) -> None:
    for service in kinds.get("Service", []):
        behind = [t for _, t in pods(documents) if selects(service["spec"]["selector"], t["metadata"]["labels"])]
        check(f"{called(service)} leads to one kind of pod", len(behind) == 1)
        for template in behind:
            ports = port_names(template["spec"])
            missing = [p for p in service["spec"]["ports"] if p["targetPort"] not in ports]
            check(f"{called(service)} leads to ports there are", not missing, missing)
    for policy in kinds.get("NetworkPolicy", []):
        to = [t for _, t in pods(documents) if selects(policy["spec"]["podSelector"], t["metadata"]["labels"])]
        check(f"{called(policy)} is for some pod", to)
        named = {p["port"] for rule in policy["spec"].get("ingress", []) for p in rule.get("ports", [])}
        for template in to:
            check(f"{called(policy)} names ports there are", named <= port_names(template["spec"]).keys(), named)


def port_names(spec: dict) -> dict[str, int]:
    containers = spec["containers"] + spec.get("initContainers", [])
    return {p["name"]: p["containerPort"] for each in containers for p in each.get("ports", [])}


def cloakroom(check, documents: list[dict], kinds: dict[str, list[dict]]) -> None:
    """What is true of the container that is Cloakroom, and its ConfigMap."""
    found = [
        (owner, template["spec"], each)
        for owner, template in pods(documents)
        for each in template["spec"]["containers"] + template["spec"].get("initContainers", [])
        if each["name"] == "cloakroom"
    ]
    check("there is one Cloakroom", len(found) == 1)
    for owner, spec, each in found:
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in each["volumeMounts"]}
        name = mounts["/etc/cloakroom"]["configMap"]["name"]
        config = next(d for d in kinds["ConfigMap"] if d["metadata"]["name"] == name)["data"]["cloakroom.toml"]
        parsed = tomllib.loads(config)
        ports = port_names({"containers": [each]})
        listens = {int(parsed[key].rsplit(":", 1)[1]) for key in ("listen", "health_listen")}
        check(f"{owner} opens the ports its configuration names", set(ports.values()) == listens, ports)
        keyring = Path(parsed["keyring"]["file"])
        secret = mounts.get(str(keyring.parent), {}).get("secret", {})
        check(f"{owner} mounts its keyring", secret.get("secretName") == "cloakroom-keyring")
        check(f"{owner} has its keyring for the pod's group alone", secret.get("defaultMode") == 0o440)
        check(f"{owner} is in that group", spec["securityContext"].get("fsGroup") == 65532)
        check(f"{owner} runs the image's own command", not {"command", "args"} & each.keys())
        memory = int(re.fullmatch(r"(\d+)Mi", each["resources"]["limits"]["memory"])[1])
        in_flight = int(re.fullmatch(r"(\d+)MiB", parsed["limits"]["in_flight"])[1])
        check(f"{owner} has room for what is in flight", memory >= 2 * in_flight)
        check(f"{owner} has time to drain", spec["terminationGracePeriodSeconds"] >= 30)
        if owner == "Deployment/jira":
            sidecar(check, spec, each, kinds, parsed)


def sidecar(check, spec: dict, each: dict, kinds: dict[str, list[dict]], config: dict) -> None:
    check("the sidecar is a native one", each in spec["initContainers"] and each["restartPolicy"] == "Always")
    check("the server itself opens no port", not any(other.get("ports") for other in spec["containers"]))
    server = spec["containers"][0]
    urls = [server["url"] for server in config["servers"].values()]
    host, port = server["args"][server["args"].index("--host") + 1], server["args"][server["args"].index("--port") + 1]
    check("the server listens on loopback, where Cloakroom asks", urls == [f"http://127.0.0.1:{port}/mcp"] and host == "127.0.0.1")
    reach = [p for policy in kinds["NetworkPolicy"] for rule in policy["spec"]["ingress"] for p in rule["ports"]]
    check("only Cloakroom's port can be reached", reach == [{"port": "cloakroom", "protocol": "TCP"}], reach)


def settings(report: Report) -> None:
    """Every configuration in deploy/ is one, without a mistake."""
    program = binary()
    for path in sorted(DEPLOY.rglob("cloakroom.toml")):
        with tempfile.TemporaryDirectory() as folder:
            keyring = Path(folder) / "master.keys"
            made = [program, "--config", Path(folder) / "none.toml", "keyring", "init"]
            subprocess.run(made, check=True, capture_output=True, env=without_ours(), timeout=60)
            text = path.read_text()
            named = tomllib.loads(text)["keyring"]["file"]
            copy = Path(folder) / "cloakroom.toml"
            # Its keyring is where a container has it, and its ports may be in use on this machine.
            text = text.replace(named, str(keyring)).replace(":8080", ":0").replace("0.0.0.0:8082", "0.0.0.0:0")
            copy.write_text(text)
            done = subprocess.run(
                [program, "--config", copy, "check", "--offline"], capture_output=True, text=True, env=without_ours(), timeout=60
            )
            lines = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
            # The one thing to know: TLS ends before it.
            meant = [line for line in lines if line.split()[1] == "config" and "unencrypted" in line]
            other = [line for line in lines if line not in meant]
            report.check("settings", f"{path.relative_to(DEPLOY)} is well", done.returncode == 0 and not other, done.stdout + done.stderr)
