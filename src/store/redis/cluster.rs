//! A Cluster: which node keeps what, found out by asking its nodes.
//!
//! Why not the crate's cluster connection: revocation hangs on knowing exactly which masters there are
//! (each needs a tracking connection, see [`super::watch`]), on never reading from another, on writes
//! that are never repeated, and on deadlines of our own.
//!
//! A node to which a record is just moving is asked when another says so (`ASK`, `MOVED`). It may keep
//! no slot yet, so no list names it: it is remembered here, because changes made there must be heard of.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::{Value, cmd, pipe};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::line::Line;
use super::link::{ConnectError, Dialer};
use super::node::Node;
use super::quorum::{LAGGARDS, most};
use super::slots::Slots;
use super::way::Way;
use crate::store::url::Address;

const TIMEOUT: Duration = Duration::from_millis(500);
/// How much later than most those may answer who know what most do not: their connection may have to be made.
const WHO_KNOW_MORE: Duration = Duration::from_millis(300);
/// What was found out is good for so long: many who are redirected at once ask once.
const GOOD_FOR: Duration = Duration::from_millis(50);
pub(super) struct Cluster {
    dialer: Arc<Dialer>,
    /// The nodes of the URL, asked only about the Cluster: they may be replicas.
    seeds: Vec<(Address, Line)>,
    map: RwLock<Arc<Map>>,
    /// When it was last found out, or not; locked while somebody does.
    asked: Mutex<Option<(Instant, Result<(), ConnectError>)>>,
}

/// What is known at one moment.
#[derive(Default, Clone)]
struct Map {
    slots: Slots,
    /// The masters of `slots`, and nodes we were sent to.
    nodes: BTreeMap<Address, Arc<Node>>,
}

impl Cluster {
    pub(super) fn new(dialer: Arc<Dialer>, seeds: &[Address]) -> Self {
        let line = |address: &Address| {
            let way = Way::Anybody(dialer.clone(), address.clone());
            (address.clone(), Line::new(way))
        };
        Self {
            seeds: seeds.iter().map(line).collect(),
            dialer,
            map: RwLock::default(),
            asked: Mutex::default(),
        }
    }

    /// Asks the nodes who keeps what. Who comes while somebody asks gets what that one finds out.
    pub(super) async fn refresh(&self) -> Result<(), ConnectError> {
        let mut asked = self.asked.lock().await;
        if let Some((at, found)) = &*asked
            && at.elapsed() < GOOD_FOR
        {
            return found.clone();
        }
        let found = self.find_out().await;
        *asked = Some((Instant::now(), found.clone()));
        found
    }

    async fn find_out(&self) -> Result<(), ConnectError> {
        let mut slots = self.agreed(LAGGARDS).await?;
        if !slots.are_whole() {
            slots = self.agreed(WHO_KNOW_MORE).await?;
        }
        self.learn(slots);
        Ok(())
    }

    async fn agreed(&self, laggards: Duration) -> Result<Slots, ConnectError> {
        let map = self.map();
        let nodes = map
            .nodes
            .iter()
            .map(|(address, node)| (address, &node.writes));
        let seeds = self.seeds.iter().map(|(address, line)| (address, line));
        let seeds = seeds.filter(|(address, _)| !map.nodes.contains_key(address));
        let asked = nodes
            .chain(seeds)
            .map(|(address, line)| view(address, line));
        let views = most(asked, laggards).await;
        let (views, errors): (Vec<_>, Vec<_>) = views.into_iter().partition(Result::is_ok);
        let views: Vec<_> = views.into_iter().flatten().collect();
        Slots::agreed(&views).ok_or_else(|| {
            let first = errors.into_iter().find_map(Result::err);
            first.unwrap_or_else(no_cluster)
        })
    }

    fn learn(&self, slots: Slots) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.slots == slots {
            return;
        }
        // Who is no master any more is let go; a node we were sent to never was one in our eyes.
        let mut nodes = map.nodes.clone();
        for master in &map.slots.masters {
            nodes.remove(&master.address);
        }
        for master in &slots.masters {
            let known = map.nodes.get(&master.address).cloned();
            let node = known.unwrap_or_else(|| self.node(&master.address));
            nodes.insert(master.address.clone(), node);
        }
        *map = Arc::new(Map { slots, nodes });
    }

    /// Forgets a node to which we were once sent, and which cannot be reached. A master stays.
    pub(super) fn forget(&self, node: &Arc<Node>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let map = Arc::make_mut(&mut map);
        let masters = &map.slots.masters;
        map.nodes.retain(|address, known| {
            !Arc::ptr_eq(known, node) || masters.iter().any(|master| master.address == *address)
        });
    }

    pub(super) fn keeper(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map();
        map.nodes.get(&map.slots.master(slot)?.address).cloned()
    }

    pub(super) fn at(&self, address: &Address) -> Arc<Node> {
        if let Some(node) = self.map().nodes.get(address) {
            return node.clone();
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let nodes = &mut Arc::make_mut(&mut map).nodes;
        let node = nodes.entry(address.clone());
        node.or_insert_with(|| self.node(address)).clone()
    }

    pub(super) fn shard_of(&self, slot: u16) -> u16 {
        self.map().slots.owner(slot).unwrap_or(u16::MAX)
    }

    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        self.map().nodes.values().cloned().collect()
    }

    /// How many replicas the node that keeps a slot has, as far as is known.
    pub(super) fn replicas(&self, slot: u16) -> u32 {
        let map = self.map();
        let master = map.slots.master(slot);
        master.map_or(0, |master| master.replicas)
    }

    fn map(&self) -> Arc<Map> {
        self.map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn node(&self, address: &Address) -> Arc<Node> {
        Node::of_cluster(self.dialer.clone(), address)
    }
}

async fn view(address: &Address, line: &Line) -> Result<Slots, ConnectError> {
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    let mut ask = pipe();
    ask.add_command(slots);
    let values = line.ask(&mut ask, TIMEOUT).await?;
    match values.first() {
        Some(Value::ServerError(error)) => Err(ConnectError::from_answer(&error.clone().into())),
        answer => answer
            .and_then(|answer| Slots::parse(answer, address))
            .ok_or_else(no_cluster),
    }
}

fn no_cluster() -> ConnectError {
    let reason =
        "it is not a node of a Cluster that keeps slots; for a single server write redis://";
    ConnectError::Unreachable(reason.to_owned())
}
