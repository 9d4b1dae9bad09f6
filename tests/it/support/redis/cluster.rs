//! A cluster: three masters with a third of the slots each, and a replica for each.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::fleet::{Fleet, Shared};
use super::server::Server;
use super::wait_until;

/// Redis' own number of slots.
pub(super) const SLOTS: u16 = 16384;
/// The first slot of each master, and the end of the last.
const BOUNDS: [u16; 4] = [0, 5461, 10923, SLOTS];

pub(crate) struct Cluster {
    pub(super) shared: Shared,
    pub(super) nodes: [Server; 6],
    pub(super) ids: [String; 6],
}

/// What a node says of another.
struct Seen {
    node: usize,
    master: bool,
    failed: bool,
    /// Whose replica it is.
    of: Option<usize>,
    slots: Vec<Range<u16>>,
}

impl Cluster {
    /// Starts it, and waits until all nodes agree.
    pub(crate) fn start(fleet: Fleet<'_>) -> Self {
        let shared = Shared::of(fleet);
        let nodes = [(); 6].map(|()| {
            shared.server(|ports| {
                let tls = if shared.tls() {
                    "tls-cluster yes\n"
                } else {
                    ""
                };
                format!(
                    "cluster-enabled yes\ncluster-port {}\ncluster-node-timeout 1500\n\
                     cluster-allow-replica-migration no\n\
                     enable-debug-command yes\nrepl-ping-replica-period 1\n{tls}",
                    ports.bus
                )
            })
        });
        let ids = nodes
            .each_ref()
            .map(|node| node.ask("CLUSTER MYID").unwrap());
        let cluster = Self { shared, nodes, ids };
        cluster.join();
        cluster
    }

    pub(crate) fn plain() -> Self {
        Self::start(Fleet::default())
    }

    fn join(&self) {
        let ask = |node: usize, command: String| self.nodes[node].ask::<()>(&command).unwrap();
        for n in 0..6 {
            ask(n, format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
        }
        for n in 0..3 {
            let (first, last) = (BOUNDS[n], BOUNDS[n + 1] - 1);
            ask(n, format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
        }
        for from in 0..6 {
            for node in &self.nodes[from + 1..] {
                let (port, bus) = (self.shared.port(node), node.ports.bus);
                ask(from, format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
            }
        }
        wait_until("the nodes know each other", || {
            (0..6).all(|n| self.seen_by(n).len() == 6)
        });
        for n in 0..3 {
            ask(n + 3, format!("CLUSTER REPLICATE {}", self.ids[n]));
        }
        self.wait_settled();
    }

    pub(crate) fn url(&self) -> String {
        self.shared.url("cluster", &self.nodes[..3])
    }

    /// The authority that signed the certificates.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.shared.ca_file()
    }

    pub(crate) fn node(&self, node: usize) -> &Server {
        &self.nodes[node]
    }

    /// The masters, by what a node that is awake thinks.
    pub(crate) fn masters(&self) -> Vec<usize> {
        let masters = self.seen().into_iter().filter(|seen| seen.master);
        masters
            .filter(|seen| !seen.slots.is_empty())
            .map(|seen| seen.node)
            .collect()
    }

    /// The master of a slot, by what a node that is awake thinks.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let holds = |seen: &Seen| seen.slots.iter().any(|range| range.contains(&slot));
        self.seen().into_iter().find(holds).unwrap().node
    }

    /// The replica of a master.
    pub(crate) fn replica(&self, master: usize) -> usize {
        let follows = |seen: &Seen| seen.of == Some(master);
        self.seen().into_iter().find(follows).unwrap().node
    }

    /// Has its replica take over from a master that is well; the new master.
    pub(crate) fn failover(&self, master: usize) -> usize {
        // A replica that has not yet told all of itself is not elected.
        self.wait_settled();
        let replica = self.replica(master);
        let mut asked: Option<Instant> = None;
        wait_until("another is master", || {
            // The other masters may refuse, shortly after they last voted; and it gives up after 5 s.
            if asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(5)) {
                self.nodes[replica].ask::<()>("CLUSTER FAILOVER").unwrap();
                asked = Some(Instant::now());
            }
            !self.masters().contains(&master)
        });
        replica
    }

    /// Has its replica take over from a master that is well, and all others learn of it late.
    ///
    /// The nodes must agree before it: [`wait_settled`](Self::wait_settled).
    pub(crate) fn failover_unheard(&self, master: usize, late: Duration) {
        let replica = self.replica(master);
        let others = || (0..6).filter(|node| ![master, replica].contains(node));
        let drop = |kind: i8| {
            let filter = format!("DEBUG DROP-CLUSTER-PACKET-FILTER {kind}");
            others().for_each(|node| self.nodes[node].ask::<()>(&filter).unwrap());
        };
        // Whoever knows of a master that stepped back, but not of the next, would serve nothing at all.
        for node in &self.nodes {
            let serve = "CONFIG SET cluster-require-full-coverage no";
            node.ask::<()>(serve).unwrap();
        }
        // Pongs, which carry who is master; -1 is nothing.
        drop(1);
        self.nodes[replica]
            .ask::<()>("CLUSTER FAILOVER TAKEOVER")
            .unwrap();
        std::thread::sleep(late);
        drop(-1);
    }

    /// Waits until no slot is a dead or demoted master's.
    pub(crate) fn wait_taken_over(&self, master: usize) {
        wait_until("another is master", || !self.masters().contains(&master));
    }

    /// Waits until every node that is awake sees the same, and all are well.
    pub(crate) fn wait_settled(&self) {
        wait_until("the nodes agree", || {
            let well = |node: usize| {
                let seen = self.seen_by(node);
                let of_masters = seen.iter().filter(|seen| !seen.slots.is_empty());
                let served: usize = of_masters
                    .flat_map(|seen| seen.slots.iter().map(|range| range.len()))
                    .sum();
                let followed = |master: usize| seen.iter().any(|seen| seen.of == Some(master));
                let info: String = self.nodes[node].ask("CLUSTER INFO").unwrap_or_default();
                served == usize::from(SLOTS)
                    && seen.iter().all(|seen| !seen.failed)
                    && seen
                        .iter()
                        .all(|seen| seen.slots.is_empty() || followed(seen.node))
                    && info.contains("cluster_state:ok")
                    && self.follows(node)
            };
            (0..6).all(|node| !self.nodes[node].is_awake() || well(node))
        });
    }

    /// Whether a node is a master, or has what its master has.
    fn follows(&self, node: usize) -> bool {
        let info: String = self.nodes[node].ask("INFO replication").unwrap_or_default();
        info.contains("role:master") || info.contains("master_link_status:up")
    }

    fn seen(&self) -> Vec<Seen> {
        let awake = (0..6).filter(|&node| self.nodes[node].is_awake());
        let mut seen = awake.map(|node| self.seen_by(node));
        seen.find(|seen| !seen.is_empty()).unwrap()
    }

    fn seen_by(&self, node: usize) -> Vec<Seen> {
        let text: String = self.nodes[node].ask("CLUSTER NODES").unwrap_or_default();
        text.lines().filter_map(|line| self.parse(line)).collect()
    }

    /// `id address flags master … epoch state slot…`; nodes that only shook hands have another id.
    fn parse(&self, line: &str) -> Option<Seen> {
        let words: Vec<_> = line.split(' ').collect();
        let number = |id: &str| self.ids.iter().position(|known| known == id);
        let has = |flag: &str| words[2].split(',').any(|found| found == flag);
        let slots = words[8..].iter().filter(|word| !word.starts_with('['));
        let slots = slots.map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            first.parse::<u16>().unwrap()..last.parse::<u16>().unwrap() + 1
        });
        Some(Seen {
            node: number(words[0])?,
            master: has("master"),
            failed: has("fail") || has("fail?"),
            of: number(words[3]),
            slots: slots.collect(),
        })
    }
}
