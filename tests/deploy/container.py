"""The container's exact command, run as its user, with nothing but its image and what Kubernetes mounts.

There is no engine here, so what one does is done by hand: a root folder made from the Dockerfile's last
stage, mounted read-only; the Deployment's volumes, as kubelet lays them out; the user of the image in the
pod's group, no capability, no new privileges; ports in a network of its own. Redis (with the settings and the
user of the manifests) and a server stand outside the root, as they would.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

import yaml

import image
from report import DEPLOY, HERE, Report, binary, without_ours

SECRET = "s3cret-of-alice"
PATIENCE = 30


def run(report: Report) -> None:
    """Goes into namespaces of its own, which end with everything in them."""
    if os.geteuid() != 0:
        raise SystemExit("tests/deploy: run it as root, which it needs to mount and to be another user")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        into = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*into, sys.executable, __file__, folder, str(binary())]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=without_ours(), timeout=180)
        for line in done.stdout.splitlines():
            name, ok, why = json.loads(line)
            report.check("container", name, ok, why)
        report.check("container", "it was run to its end", done.returncode == 0)


def check(name: str, ok: object, why: object = "") -> None:
    print(json.dumps([name, bool(ok), "" if ok else str(why)]), flush=True)


def main() -> None:
    folder, program = Path(sys.argv[1]), Path(sys.argv[2])
    loopback_up()
    manifests = list(yaml.safe_load_all((HERE / "rendered" / "base.yaml").read_text()))
    find = lambda kind, name: next(d for d in manifests if (d["kind"], d["metadata"]["name"]) == (kind, name))  # noqa: E731
    subprocess.run([DEPLOY / "make-secrets.sh", folder / "secrets", "127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    redis = find("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"][0]
    start_redis(folder, find("ConfigMap", "redis")["data"]["redis.conf"], redis)
    backend = start_backend()
    made = image.make(DEPLOY / "Dockerfile", folder / "root", program)
    config = find("ConfigMap", "cloakroom")["data"]["cloakroom.toml"]
    keyring = lay_out(folder, program, config, made)
    deployment = find("Deployment", "cloakroom")["spec"]["template"]["spec"]
    serve(Container(made, deployment, folder, backend), keyring, config)


def loopback_up() -> None:
    with socket.socket() as any_socket:
        up = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def start_redis(folder: Path, conf: str, container: dict) -> None:
    """Redis with the manifests' settings, but for where its files are on this machine."""
    data = folder / "data"
    data.mkdir()
    ours = conf.replace("dir /data", f"dir {data}").replace("/run/secrets/redis/users.acl", str(folder / "secrets" / "users.acl"))
    (folder / "redis.conf").write_text(ours)
    program, file = container["command"]
    assert file == "/etc/redis/redis.conf"
    subprocess.Popen([program, folder / "redis.conf"], stdout=subprocess.DEVNULL)
    probe = container["readinessProbe"]["exec"]["command"]
    until = time.monotonic() + PATIENCE
    while subprocess.run(probe, capture_output=True).returncode != 0:
        if time.monotonic() > until:
            raise SystemExit("the probe of Redis is never answered")
        time.sleep(0.1)
    check("the probe of Redis is answered", True)
    forbidden = subprocess.run([*probe[:-1], "dbsize"], capture_output=True, text=True)
    check("the user of the probe may only ping", forbidden.returncode != 0 and "NOPERM" in forbidden.stdout + forbidden.stderr)
    nobody = subprocess.run(["redis-cli", "-e", "ping"], capture_output=True, text=True)
    check("nobody is let in without a login", nobody.returncode != 0, nobody.stdout)


class Backend(http.server.BaseHTTPRequestHandler):
    """A server that says which credential it got, by its fingerprint."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print_of = hashlib.sha256(self.headers.get("Authorization", "").encode()).hexdigest()
        result = {"content": [{"type": "text", "text": print_of}], "isError": False}
        body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def start_backend() -> str:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/mcp"


def lay_out(folder: Path, program: Path, config: str, made: image.Image) -> Path:
    """Mounts root read-only, and over it the volumes as kubelet lays them out; gives the keyring's file."""
    subprocess.run(
        [program, "--config", folder / "secrets" / "none.toml", "keyring", "init"], check=True, capture_output=True
    )
    volumes = {
        "etc/cloakroom": {"cloakroom.toml": (config.encode(), 0o644)},
        "run/secrets/cloakroom": {"master.keys": ((folder / "secrets" / "master.keys").read_bytes(), 0o440)},
    }
    for target in volumes:
        (made.root / target).mkdir(parents=True)
    mount("--bind", made.root, made.root)
    mount("-o", "remount,bind,ro", made.root)
    for target, files in volumes.items():
        volume = folder / "volumes" / target
        deep = volume / "..2026_11_21"
        deep.mkdir(parents=True)
        (volume / "..data").symlink_to(deep.name)
        for name, (content, mode) in files.items():
            (deep / name).write_bytes(content)
            (deep / name).chmod(mode)
            # Root's, and of the pod's fsGroup.
            shutil.chown(deep / name, 0, made.group)
            (volume / name).symlink_to(Path("..data") / name)
        mount("--bind", volume, made.root / target)
        mount("-o", "remount,bind,ro", made.root / target)
    for parent in (folder / "volumes").rglob("*"):
        if parent.is_dir() and not parent.is_symlink():
            parent.chmod(0o755)
    return folder / "volumes" / "run/secrets/cloakroom/..2026_11_21/master.keys"


def mount(*args: object) -> None:
    subprocess.run(["mount", *args], check=True)


class Container:
    """Runs commands as an engine would in this image and pod."""

    def __init__(self, made: image.Image, pod: dict, folder: Path, backend: str) -> None:
        self.made, self.pod = made, pod
        self.spec = pod["containers"][0]
        (name,) = [each["name"] for each in self.spec["env"]]
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **made.env,
            name: (folder / "secrets" / "store-url").read_text(),
            # The one thing that is not as in the cluster: the server of the example is ours.
            "CLOAKROOM_SERVERS__EXAMPLE__URL": backend,
        }

    def start(self, command: list[str], **kwargs: object) -> subprocess.Popen:
        return subprocess.Popen(command, env=self.env, preexec_fn=self._become, text=True, **kwargs)

    def exec(self, *args: str, said: str = "") -> subprocess.CompletedProcess:
        """As `kubectl exec deploy/cloakroom -- /cloakroom …`."""
        pipe = subprocess.PIPE
        child = self.start([*self.made.entrypoint, *args], stdin=pipe, stdout=pipe, stderr=pipe)
        out, err = child.communicate(said, timeout=PATIENCE)
        return subprocess.CompletedProcess(args, child.returncode, out, err)

    def _become(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in range(64):
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
        os.chroot(self.made.root)
        os.chdir("/")
        context = self.pod["securityContext"]
        os.setgroups([context["fsGroup"]])
        os.setresgid(self.made.group, self.made.group, self.made.group)
        os.setresuid(self.made.user, self.made.user, self.made.user)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS


def serve(container: Container, keyring: Path, config: str) -> None:
    made, spec = container.made, container.spec
    context = container.pod["securityContext"]
    check("the image's user is the pod's", (made.user, made.group) == (context["runAsUser"], context["runAsGroup"]))
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
    check("the image names its ports", made.exposed == set(ports.values()), made.exposed)

    checked = container.exec("check", "--json")
    findings = json.loads(checked.stdout)["findings"]
    bad = [f for f in findings if f["state"] == "error" or (f["state"] == "warning" and f["what"] not in ("listen", "config"))]
    check("`check` in the container finds nothing to mend", checked.returncode == 0 and not bad, bad)
    container.exec("user", "add", "alice")
    named = container.exec("secret", "set", "alice", "example", "EXAMPLE_TOKEN", said=SECRET)
    check("commands work in the container", named.returncode == 0, named.stderr)
    key = json.loads(container.exec("key", "issue", "alice", "--json").stdout)["key"]

    child = container.start([*made.entrypoint, *made.cmd], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = spec[name]["httpGet"]
        check(f"its {name} is answered", answered(child, ports[asked["port"]], asked["path"]))
    healthy = container.start(made.healthcheck, stdout=subprocess.DEVNULL)
    check("the image's HEALTHCHECK says that it is well", healthy.wait(PATIENCE) == 0)
    confined(child.pid, made)
    status, page = ask(ports["health"], "GET", "/metrics")
    check("it shows its figures", status == 200 and "cloakroom_store_reads_total" in page, status)

    host = tomllib.loads(config)["allowed_hosts"][0]
    status, text = call(ports["http"], key, host)
    print_of = hashlib.sha256(f"Bearer {SECRET}".encode()).hexdigest()
    check("a request through it carries the user's secret", status == 200 and print_of in text, f"{status} {text}")
    check("a wrong key is refused", call(ports["http"], "clk_wrong", host)[0] == 401)
    check("a foreign Host is refused", call(ports["http"], key, "evil.example")[0] in (403, 421))

    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    code = child.wait(container.pod["terminationGracePeriodSeconds"])
    check("it ends well when told to, in time", code == 0, f"{code} after {time.monotonic() - began:.1f} s")

    for mode in (0o444, 0o460):
        keyring.chmod(mode)
        refused = container.exec("user", "list")
        said = refused.returncode == 1 and "defaultMode: 0440" in refused.stderr
        check(f"a keyring of mode {mode:o} is refused with the remedy", said, refused.stderr)
    keyring.chmod(0o440)
    shutil.chown(keyring, 0, 4242)
    refused = container.exec("user", "list")
    check("a keyring of another group is refused", refused.returncode == 1, refused.stderr)


def answered(child: subprocess.Popen, port: int, path: str) -> bool:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and child.poll() is None:
        try:
            if ask(port, "GET", path)[0] == 200:
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def ask(port: int, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def call(port: int, key: str, host: str) -> tuple[int, str]:
    body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}'
    headers = {
        "Host": host,
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    return ask(port, "POST", "/example/mcp", body, headers)


def confined(pid: int, made: image.Image) -> None:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    check("it is the image's user", status["Uid"].split() == [str(made.user)] * 4, status["Uid"])
    none = all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    check("it has no capability and gets none", none and status["NoNewPrivs"] == "1")
    writable = os.statvfs(made.root).f_flag & os.ST_RDONLY == 0
    check("its root is read-only", not writable)


if __name__ == "__main__":
    main()
