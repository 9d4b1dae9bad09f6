//! The replicas of one backend, and which of them a request goes to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pingora_ketama::{Bucket, Continuum};

use super::ReplicaAddress;
use super::health::{Health, Leave};

/// One replica.
pub(in crate::proxy) struct Replica {
    address: ReplicaAddress,
    id: u64,
    on_ring: SocketAddr,
    health: Mutex<Health>,
}

/// A try at one replica.
pub(in crate::proxy) struct Attempt {
    pub(in crate::proxy) replica: Arc<Replica>,
    /// `None`: tried because there is nothing better, and what comes of it counts only for it.
    leave: Option<Leave>,
}

/// All replicas of a backend at one moment.
pub(in crate::proxy) struct Set {
    /// By their place on the ring.
    replicas: Vec<Arc<Replica>>,
    ring: Continuum,
}

impl Replica {
    fn new(address: ReplicaAddress) -> Arc<Self> {
        Arc::new(Self {
            id: address.id(),
            on_ring: address.on_ring(),
            address,
            health: Mutex::default(),
        })
    }

    pub(in crate::proxy) fn address(&self) -> &ReplicaAddress {
        &self.address
    }

    /// What is sealed into the ids of what it holds.
    pub(in crate::proxy) fn id(&self) -> u64 {
        self.id
    }

    #[cfg(feature = "pingora-lb")]
    pub(in crate::proxy) fn on_ring(&self) -> SocketAddr {
        self.on_ring
    }

    pub(super) fn is_up(&self) -> bool {
        self.health().is_up()
    }

    /// Its active checks pass from now on, or fail.
    #[cfg(feature = "pingora-lb")]
    pub(in crate::proxy) fn checked(&self, well: bool) {
        if !self.health().checked(well) {
            return;
        }
        let replica = &self.address;
        if well {
            tracing::info!(%replica, "a replica passes its checks again");
        } else {
            tracing::warn!(%replica, "a replica fails its checks, and gets no requests");
        }
    }

    fn admit(self: &Arc<Self>, now: Instant) -> Option<Attempt> {
        let leave = Some(self.health().admit(now)?);
        let replica = self.clone();
        Some(Attempt { replica, leave })
    }

    fn anyway(self: &Arc<Self>) -> Attempt {
        let replica = self.clone();
        Attempt {
            replica,
            leave: None,
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// Whether this is to find out if the replica can be reached: only a new connection tells.
    pub(in crate::proxy) fn is_trial(&self) -> bool {
        self.leave.is_some_and(|leave| leave.trial)
    }

    /// A connection to it was opened.
    pub(in crate::proxy) fn succeeded(&self) {
        if self.replica.health().succeeded() {
            tracing::info!(replica = %self.replica.address, "a replica can be reached again");
        }
    }

    /// None could be opened.
    pub(in crate::proxy) fn failed(&self, now: Instant) {
        let Some(leave) = self.leave else { return };
        if self.replica.health().failed(leave, now) {
            tracing::warn!(replica = %self.replica.address, "a replica cannot be reached, and is left alone for a while");
        }
    }
}

impl Set {
    /// Replicas at these addresses, each once. One that is in `before` keeps what is known of it.
    pub(super) fn new(
        addresses: impl IntoIterator<Item = ReplicaAddress>,
        before: &[Arc<Replica>],
    ) -> Self {
        let replica = |address: ReplicaAddress| {
            let known = before.iter().find(|replica| replica.address == address);
            known.cloned().unwrap_or_else(|| Replica::new(address))
        };
        let mut replicas: Vec<_> = addresses.into_iter().map(replica).collect();
        replicas.sort_by_key(|replica| replica.on_ring);
        replicas.dedup_by_key(|replica| replica.on_ring);
        // A weight of 0 would panic.
        let bucket = |replica: &Arc<Replica>| Bucket::new(replica.on_ring, 1);
        let buckets: Vec<_> = replicas.iter().map(bucket).collect();
        let ring = Continuum::new(&buckets);
        Self { replicas, ring }
    }

    pub(in crate::proxy) fn replicas(&self) -> &[Arc<Replica>] {
        &self.replicas
    }

    /// The next replica to try for requests of `key`, after those `tried`. When none is up the ring's
    /// choice is tried nevertheless, once. A replica that is alone is always tried.
    pub(in crate::proxy) fn choose(
        &self,
        key: &[u8],
        tried: &[Arc<Replica>],
        now: impl FnOnce() -> Instant,
    ) -> Option<Attempt> {
        if let [only] = self.replicas.as_slice() {
            return tried.is_empty().then(|| only.anyway());
        }
        let now = now();
        let first = self.at(self.ring.node(key)?)?;
        if tried.is_empty()
            && let Some(attempt) = first.admit(now)
        {
            return Some(attempt);
        }
        let order = self.order(key);
        let left = order
            .iter()
            .filter(|left| !tried.iter().any(|one| one.id == left.id));
        let next = left.into_iter().find_map(|replica| replica.admit(now));
        next.or_else(|| tried.is_empty().then(|| first.anyway()))
    }

    /// The replica that has this id.
    pub(in crate::proxy) fn find(&self, id: u64) -> Option<&Arc<Replica>> {
        self.replicas.iter().find(|replica| replica.id == id)
    }

    /// A try at just this replica; `None` if it is down and another is up, where its client may begin
    /// anew.
    pub(in crate::proxy) fn only(&self, replica: &Arc<Replica>, now: Instant) -> Option<Attempt> {
        if self.replicas.len() == 1 {
            return Some(replica.anyway());
        }
        let admitted = replica.admit(now);
        admitted.or_else(|| (!self.another_is_up(replica)).then(|| replica.anyway()))
    }

    /// Whether a replica besides this one is up.
    pub(in crate::proxy) fn another_is_up(&self, replica: &Replica) -> bool {
        let mut others = self.replicas.iter().filter(|other| other.id != replica.id);
        others.any(|other| other.is_up())
    }

    /// All of them, as they come on the ring from `key` on.
    fn order(&self, key: &[u8]) -> Vec<&Arc<Replica>> {
        let mut order: Vec<&Arc<Replica>> = Vec::with_capacity(self.replicas.len());
        let points = self.replicas.len() * pingora_ketama::DEFAULT_POINT_MULTIPLE as usize;
        for address in self.ring.node_iter(key).take(points) {
            if order.len() == self.replicas.len() {
                break;
            }
            let replica = self.at(*address);
            order.extend(replica.filter(|new| !order.iter().any(|one| one.id == new.id)));
        }
        order
    }

    pub(in crate::proxy) fn at(&self, on_ring: SocketAddr) -> Option<&Arc<Replica>> {
        let place = |replica: &Arc<Replica>| replica.on_ring;
        let index = self.replicas.binary_search_by_key(&on_ring, place).ok()?;
        self.replicas.get(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn set(ports: impl IntoIterator<Item = u16>) -> Set {
        let address = |port| ReplicaAddress::new("127.0.0.1", port);
        Set::new(ports.into_iter().map(address), &[])
    }

    fn port(replica: &Replica) -> u16 {
        replica.address.pair().1
    }

    fn keys() -> impl Iterator<Item = String> {
        (0..3000).map(|n| format!("user-{n}"))
    }

    fn chosen(set: &Set, key: &str, now: Instant) -> u16 {
        port(&set.choose(key.as_bytes(), &[], || now).unwrap().replica)
    }

    #[test]
    fn keys_spread_and_few_move_when_one_replica_goes() {
        let (three, two, now) = (set([1, 2, 3]), set([1, 3]), Instant::now());
        let mut shares: BTreeMap<u16, usize> = BTreeMap::new();
        for key in keys() {
            let one = chosen(&three, &key, now);
            *shares.entry(one).or_default() += 1;
            if one != 2 {
                assert_eq!(
                    chosen(&two, &key, now),
                    one,
                    "{key} moved though its replica stayed"
                );
            }
        }
        assert_eq!(shares.len(), 3);
        assert!(
            shares.values().all(|share| (700..1300).contains(share)),
            "{shares:?}"
        );
    }

    // Mutation: `order` the replicas as they are.
    #[test]
    fn what_is_down_is_passed_over_as_if_it_were_gone_until_it_is_tried_again() {
        let (three, without, now) = (set([1, 2, 3]), set([1, 3]), Instant::now());
        let key = keys().find(|key| chosen(&three, key, now) == 2).unwrap();
        let attempt = three.choose(key.as_bytes(), &[], || now).unwrap();
        attempt.failed(now);
        for key in keys() {
            assert_eq!(
                chosen(&three, &key, now),
                chosen(&without, &key, now),
                "{key}"
            );
        }
        let later = now + Duration::from_secs(1);
        let trial = three.choose(key.as_bytes(), &[], || later).unwrap();
        assert!(port(&trial.replica) == 2 && trial.is_trial());
        assert_ne!(
            chosen(&three, &key, later),
            2,
            "one request tries it, not two"
        );
        trial.succeeded();
        assert!(keys().filter(|key| chosen(&three, key, later) == 2).count() > 700);
    }

    // Mutation: without `tried.is_empty()`, a request goes round for ever.
    #[test]
    fn a_request_tries_each_once_and_the_rings_choice_when_all_are_down() {
        let (three, now) = (set([1, 2, 3]), Instant::now());
        let mut tried = Vec::new();
        while let Some(attempt) = three.choose(b"a", &tried, || now) {
            attempt.failed(now);
            tried.push(attempt.replica);
        }
        let mut ports: Vec<_> = tried.iter().map(|replica| port(replica)).collect();
        let first = ports[0];
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3]);
        let anyway = three.choose(b"a", &[], || now).unwrap();
        assert_eq!(port(&anyway.replica), first);
        // It makes the wait no longer.
        anyway.failed(now);
        let later = now + Duration::from_secs(1);
        assert!(three.choose(b"a", &[], || later).unwrap().is_trial());
    }

    #[test]
    fn what_belongs_to_a_replica_goes_nowhere_else() {
        let (two, now) = (set([1, 2]), Instant::now());
        let one = two.find(ReplicaAddress::new("127.0.0.1", 1).id()).unwrap();
        assert!(two.find(7).is_none());
        two.only(one, now).unwrap().failed(now);
        assert!(two.only(one, now).is_none() && two.another_is_up(one));
        two.choose(b"a", &[], || now).unwrap().failed(now);
        // With nowhere to begin anew it is tried: the session may be there yet.
        assert!(two.only(one, now).is_some() && !two.another_is_up(one));
    }

    #[test]
    fn one_alone_is_always_tried() {
        let (alone, now) = (set([1]), Instant::now());
        for _ in 0..3 {
            alone.choose(b"a", &[], || now).unwrap().failed(now);
        }
        let attempt = alone.choose(b"a", &[], || now).unwrap();
        assert!(!attempt.is_trial() && alone.replicas()[0].is_up());
        assert!(alone.choose(b"a", &[attempt.replica], || now).is_none());
    }

    #[test]
    fn what_is_known_of_a_replica_stays_when_others_come_and_go() {
        let (two, now) = (set([1, 2]), Instant::now());
        two.choose(b"a", &[], || now).unwrap().failed(now);
        let addresses = [1, 2, 3, 3].map(|port| ReplicaAddress::new("127.0.0.1", port));
        let three = Set::new(addresses, two.replicas());
        let up = three.replicas().iter().filter(|replica| replica.is_up());
        assert_eq!((three.replicas().len(), up.count()), (3, 2));
    }
}
