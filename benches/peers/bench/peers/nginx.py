"""nginx, plain and with bearer keys mapped to injected headers."""

import getpass
import resource

from .. import tools, users
from ..machine import version
from . import Peer

# Nothing is logged, connections to the origin are kept and never renewed by count, and no answer goes to a
# file. As many workers as it gets processors.
CONFIG = """\
daemon off;
user {user};
pid {work}/nginx.pid;
error_log stderr warn;
worker_processes {threads};
worker_rlimit_nofile {descriptors};
events {{
    worker_connections {descriptors};
}}
http {{
    access_log off;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    {map}
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port}{listen};
        {tls}
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
        client_max_body_size 0;
        client_body_buffer_size 2m;
        location / {{
            {inject}
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_max_temp_file_size 0;
            proxy_read_timeout 1h;
            {buffering}
        }}
    }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    injects = False

    def __init__(self, work):
        super().__init__(work)
        tools.install("nginx")

    def version(self):
        return version([tools.find("nginx"), "-v"])

    def command(self, port, origin, settings):
        cert, key = tools.certificate() if settings.tls else (None, None)
        config = self.work / "nginx.conf"
        config.write_text(CONFIG.format(
            work=self.work,
            user=owner(),
            port=port,
            origin=origin,
            threads=settings.threads,
            descriptors=descriptors(),
            listen=(" reuseport" if settings.threads > 1 else "") + (" ssl" if settings.tls else ""),
            tls=f"ssl_protocols TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key};" if settings.tls else "",
            map=self.map(),
            inject=self.inject(),
            buffering="proxy_buffering off;" if settings.streams else "",
        ))
        return [tools.find("nginx"), "-p", self.work, "-c", config, "-e", "stderr"]

    def map(self):
        return ""

    def inject(self):
        return ""


class NginxMap(Nginx):
    name = "nginx-map"
    injects = True

    def map(self):
        pairs = [f'"Bearer {users.key(user)}" "Bearer {users.secret(user)}";' for user in range(users.USERS)]
        return "map_hash_bucket_size 128; map $http_authorization $injected { " + " ".join(pairs) + " }"

    def inject(self):
        return 'if ($injected = "") { return 401; } proxy_set_header Authorization $injected;'


def owner():
    return getpass.getuser()


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
