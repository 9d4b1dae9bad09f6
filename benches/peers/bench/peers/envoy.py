"""Envoy with its credential injector, which knows one credential for everybody."""

import json

from .. import tools
from ..machine import version
from . import Peer

TYPES = "type.googleapis.com/envoy.extensions"


class Envoy(Peer):
    name = "envoy"
    injects = False

    def __init__(self, work):
        super().__init__(work)
        self.program = tools.install_envoy()

    def version(self):
        return version([self.program, "--version"])

    def command(self, port, origin, settings):
        config = self.work / "envoy.json"
        config.write_text(json.dumps(document(port, origin), indent=1))
        return [self.program, "-c", config, "--concurrency", settings.threads, "--disable-hot-restart",
                "--log-level", "warn"]


def document(port, origin):
    credential = {"name": "credential", "generic_secret": {"secret": {"inline_string": "Bearer secret-anyone"}}}
    return {"static_resources": {
        "listeners": [{"name": "clients", "address": address(port), "filter_chains": [{"filters": [manager()]}]}],
        "clusters": [cluster(origin)],
        "secrets": [credential],
    }}


def manager():
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s", "idle_timeout": "0s"}}
    return typed("envoy.filters.network.http_connection_manager",
                 "filters.network.http_connection_manager.v3.HttpConnectionManager", {
                     "stat_prefix": "clients",
                     "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
                     "stream_idle_timeout": "0s",
                     "http_filters": [injector(), typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
                 })


def injector():
    generic = typed("envoy.http.injected_credentials.generic", "http.injected_credentials.generic.v3.Generic",
                    {"credential": {"name": "credential"}})
    return typed("envoy.filters.http.credential_injector",
                 "filters.http.credential_injector.v3.CredentialInjector",
                 {"overwrite": True, "credential": generic})


def cluster(origin):
    endpoint = {"endpoint": {"address": address(origin)}}
    most = {"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}
    return {
        "name": "origin",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(name, kind, fields=None):
    return {"name": name, "typed_config": {"@type": f"{TYPES}.{kind}", **(fields or {})}}
