"""HAProxy, plain and with a map file from keys to secrets."""

from .. import tools, users
from ..machine import version
from . import Peer

CONFIG = """\
global
    nbthread {threads}
defaults
    mode http
    no log
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    timeout tunnel 1h
    {delay}
frontend clients
    bind 127.0.0.1:{port}{tls}
    {inject}
    default_backend origin
backend origin
    http-reuse always
    server origin 127.0.0.1:{origin}
"""


class Haproxy(Peer):
    name = "haproxy"
    injects = False

    def __init__(self, work):
        super().__init__(work)
        tools.install("haproxy")

    def version(self):
        return version([tools.find("haproxy"), "-v"])

    def command(self, port, origin, settings):
        config = self.work / "haproxy.cfg"
        config.write_text(CONFIG.format(
            port=port,
            origin=origin,
            threads=settings.threads,
            tls=f" ssl crt {self.pem()} ssl-min-ver TLSv1.3" if settings.tls else "",
            # Without, an event waits 200 ms for more to send with it.
            delay="option http-no-delay" if settings.streams else "",
            inject=self.inject(),
        ))
        return [tools.find("haproxy"), "-db", "-q", "-f", config]

    def pem(self):
        cert, key = tools.certificate()
        both = self.work / "tls.pem"
        both.write_text(cert.read_text() + key.read_text())
        return both

    def inject(self):
        return ""


class HaproxyMap(Haproxy):
    name = "haproxy-map"
    injects = True

    def inject(self):
        file = self.work / "secrets.map"
        pairs = [f"{users.key(user)} Bearer {users.secret(user)}\n" for user in range(users.USERS)]
        file.write_text("".join(pairs))
        return "\n    ".join([
            f"http-request set-var(txn.injected) req.hdr(authorization),word(2,' '),map_str({file})",
            "http-request deny deny_status 401 unless { var(txn.injected) -m found }",
            "http-request set-header Authorization %[var(txn.injected)]",
        ])
