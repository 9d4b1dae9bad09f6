//! What the servers of one installation have in common: who may log in, and TLS.

use std::path::PathBuf;

use super::certificates::Certificates;
use super::server::{DATA, Ports, Server};

/// Who may log in.
#[derive(Clone, Copy, Default)]
pub(crate) enum Login<'a> {
    #[default]
    Anybody,
    /// Who knows the password, which is `p@ss`.
    Password,
    /// `cloakroom`, whose password is `p@ss`, and who may do this to a server and that to a sentinel.
    User {
        rule: &'a str,
        sentinel_rule: &'a str,
    },
}

/// How servers are to be started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fleet<'a> {
    pub(crate) login: Login<'a>,
    /// With a certificate for `localhost` and `127.0.0.1`. Only the tests still come without.
    pub(crate) tls: bool,
}

/// What the servers share once they run.
pub(super) struct Shared {
    /// What stands before the host in the URL for the proxy.
    pub(super) login: &'static str,
    /// As who the tests, replicas and sentinels log in: user and password.
    pub(super) admin: Option<(&'static str, &'static str)>,
    before_host: &'static str,
    lines: String,
    sentinel_lines: String,
    certificates: Option<Certificates>,
}

const ADMIN: &str = "user default off\nuser admin on >admin ~* &* +@all\n";

impl Shared {
    pub(super) fn of(fleet: Fleet<'_>) -> Self {
        let certificates = fleet
            .tls
            .then(|| Certificates::of(&["localhost", "127.0.0.1"]));
        let (login, admin, before_host) = match fleet.login {
            Login::Anybody => ("", None, ""),
            Login::Password => (":p%40ss@", Some(("default", "p@ss")), ":p%40ss@"),
            Login::User { .. } => (
                "cloakroom:p%40ss@",
                Some(("admin", "admin")),
                "admin:admin@",
            ),
        };
        let [lines, sentinel_lines] = match fleet.login {
            Login::Anybody => [String::new(), String::new()],
            Login::Password => ["requirepass p@ss\n"; 2].map(str::to_owned),
            Login::User {
                rule,
                sentinel_rule,
            } => {
                [rule, sentinel_rule].map(|rule| format!("{ADMIN}user cloakroom on >p@ss {rule}\n"))
            }
        };
        Self {
            login,
            admin,
            before_host,
            lines,
            sentinel_lines,
            certificates,
        }
    }

    /// Starts a server that keeps data, with these lines besides.
    pub(super) fn server(&self, lines: impl Fn(Ports) -> String) -> Server {
        Server::launched(&[], self.before_host, |ports| {
            let master = self
                .admin
                .map(|(user, password)| format!("masteruser {user}\nmasterauth {password}\n"));
            let all = [
                &self.listening(ports),
                DATA,
                &self.lines,
                &master.unwrap_or_default(),
                &lines(ports),
            ];
            all.concat()
        })
    }

    /// Starts a sentinel, with these lines besides.
    pub(super) fn sentinel(&self, lines: &str) -> Server {
        Server::launched(&["--sentinel"], self.before_host, |ports| {
            [&self.listening(ports), lines, &self.sentinel_lines].concat()
        })
    }

    fn listening(&self, ports: Ports) -> String {
        let Ports { usual, tls, .. } = ports;
        match &self.certificates {
            Some(pair) => format!(
                "port {usual}\ntls-port {tls}\ntls-replication yes\n{}",
                pair.lines()
            ),
            None => format!("port {usual}\n"),
        }
    }

    pub(super) fn tls(&self) -> bool {
        self.certificates.is_some()
    }

    /// Where others reach a server, the proxy too.
    pub(super) fn port(&self, server: &Server) -> u16 {
        match self.tls() {
            true => server.ports.tls,
            false => server.ports.usual,
        }
    }

    /// `redis+KIND://LOGIN HOSTS`.
    pub(super) fn url(&self, kind: &str, servers: &[Server]) -> String {
        let scheme = if self.tls() { "rediss" } else { "redis" };
        let hosts = servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", self.port(server)));
        let hosts: Vec<_> = hosts.collect();
        format!("{scheme}+{kind}://{}{}", self.login, hosts.join(","))
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.certificates.as_ref().unwrap().ca_file()
    }
}
