//! A master with two replicas, and three sentinels that watch over them.

use std::collections::HashMap;
use std::path::PathBuf;

use super::fleet::{Fleet, Shared};
use super::server::Server;
use super::wait_until;

/// The name sentinels know the master by.
const NAME: &str = "cloaks";
/// How often a sentinel says who it is, in milliseconds: while they find each other, and usually. An old
/// master is told to follow the new one after four times as long, so the usual is Redis' own.
const HELLO: [u32; 2] = [100, 2000];

pub(crate) struct Sentinels {
    shared: Shared,
    servers: [Server; 3],
    pub(crate) sentinels: [Server; 3],
}

impl Sentinels {
    /// Starts them, and waits until all know each other.
    pub(crate) fn start(fleet: Fleet<'_>) -> Self {
        let shared = Shared::of(fleet);
        let first = shared.server(|_| String::new());
        let port = shared.port(&first);
        let replica = || shared.server(|_| format!("replicaof 127.0.0.1 {port}\n"));
        let servers = [replica(), replica(), first];
        wait_until("two replicas follow", || followers(&servers[2]) == 2);
        let lines = watching(&shared, port);
        let sentinels = [(); 3].map(|()| shared.sentinel(&lines));
        let say_hello_every = |milliseconds| {
            for sentinel in &sentinels {
                let command = format!("SENTINEL DEBUG PUBLISH-PERIOD {milliseconds}");
                sentinel.ask::<()>(&command).unwrap();
            }
        };
        say_hello_every(HELLO[0]);
        let all = Self {
            shared,
            servers,
            sentinels,
        };
        all.wait_settled();
        let sentinels = &all.sentinels;
        for sentinel in sentinels {
            let command = format!("SENTINEL DEBUG PUBLISH-PERIOD {}", HELLO[1]);
            sentinel.ask::<()>(&command).unwrap();
        }
        all
    }

    pub(crate) fn plain() -> Self {
        Self::start(Fleet::default())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{NAME}", self.shared.url("sentinel", &self.sentinels))
    }

    /// The authority that signed the certificates.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.shared.ca_file()
    }

    /// Where the sentinels that are awake say the master is; they may disagree for a moment.
    pub(crate) fn master_port(&self) -> u16 {
        let command = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}");
        let answer = |sentinel: &Server| sentinel.ask::<(String, u16)>(&command).ok();
        let awake = self.sentinels.iter().filter(|sentinel| sentinel.is_awake());
        awake.filter_map(answer).next().unwrap().1
    }

    pub(crate) fn master(&self) -> &Server {
        let port = self.master_port();
        let is_master = |server: &&Server| self.shared.port(server) == port;
        self.servers.iter().find(is_master).unwrap()
    }

    /// The servers which are not the master.
    pub(crate) fn replicas(&self) -> Vec<&Server> {
        let port = self.master_port();
        let others = self.servers.iter();
        others
            .filter(|server| self.shared.port(server) != port)
            .collect()
    }

    /// Has a replica take over from a master that is well; returns when the sentinels say so. The old
    /// master thinks of itself as one for some seconds more.
    pub(crate) fn failover(&self) {
        let old = self.master_port();
        let command = format!("SENTINEL FAILOVER {NAME}");
        self.sentinels[0].ask::<()>(&command).unwrap();
        wait_until("another is master", || self.master_port() != old);
    }

    /// Waits until the master has two replicas that follow and all sentinels know all of it.
    pub(crate) fn wait_settled(&self) {
        wait_until("the sentinels know each other and all servers", || {
            let port = self.master_port();
            followers(self.master()) == 2
                && self
                    .sentinels
                    .iter()
                    .all(|sentinel| knows_all(sentinel, port))
        });
    }
}

fn watching(shared: &Shared, port: u16) -> String {
    let mut lines = format!(
        "sentinel monitor {NAME} 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 3000\n\
         sentinel parallel-syncs {NAME} 1\n"
    );
    if let Some((user, password)) = shared.admin {
        lines += &format!(
            "sentinel auth-user {NAME} {user}\nsentinel auth-pass {NAME} {password}\n\
             sentinel sentinel-user {user}\nsentinel sentinel-pass {password}\n"
        );
    }
    lines
}

/// How many replicas have all of what a master wrote.
fn followers(master: &Server) -> usize {
    let replication: String = master.ask("INFO replication").unwrap_or_default();
    replication.matches("state=online").count()
}

fn knows_all(sentinel: &Server, port: u16) -> bool {
    let master = sentinel.ask::<HashMap<String, String>>(&format!("SENTINEL MASTER {NAME}"));
    let replicas = sentinel
        .ask::<Vec<HashMap<String, String>>>(&format!("SENTINEL REPLICAS {NAME}"))
        .unwrap_or_default();
    let well = |replica: &HashMap<String, String>| {
        replica["flags"] == "slave" && replica["master-link-status"] == "ok"
    };
    let expected = [
        ("flags", "master"),
        ("num-slaves", "2"),
        ("num-other-sentinels", "2"),
        ("port", &port.to_string()),
    ];
    master.is_ok_and(|master| {
        expected
            .iter()
            .all(|(name, value)| master.get(*name).is_some_and(|found| found == value))
    }) && replicas.len() == 2
        && replicas.iter().all(well)
}
