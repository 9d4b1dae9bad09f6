//! A name that stands for all replicas, as a headless Service of Kubernetes does: asked again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{MOST, ReplicaAddress, Set};

/// How often the name is asked for.
const EVERY: Duration = Duration::from_secs(10);

/// The replicas behind `name`, once it was asked for the first time; an empty set until then. Asked for
/// until nobody looks any more, by a task of the current runtime.
pub(super) fn watch(name: ReplicaAddress) -> watch::Receiver<Arc<Set>> {
    let (sender, receiver) = watch::channel(Arc::new(Set::new([], &[])));
    tokio::spawn(follow(name, sender));
    receiver
}

async fn follow(name: ReplicaAddress, sets: watch::Sender<Arc<Set>>) {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = sets.closed() => return,
        }
        match tokio::net::lookup_host(name.pair()).await {
            Ok(found) => {
                let next = next(&sets.borrow(), found);
                if let Some(next) = next {
                    tracing::info!(%name, replicas = next.replicas().len(), "a server's replicas changed");
                    sets.send_replace(Arc::new(next));
                }
            }
            // Those it had may well be there yet.
            Err(error) => tracing::warn!(%name, %error, "a server's name cannot be resolved"),
        }
    }
}

/// The set after an answer; `None` if it stays. An empty answer is no reason to have none.
fn next(set: &Set, found: impl IntoIterator<Item = SocketAddr>) -> Option<Set> {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable();
    found.dedup();
    if found.len() > MOST {
        tracing::warn!(
            found = found.len(),
            most = MOST,
            "a server's name has too many addresses"
        );
        found.truncate(MOST);
    }
    let known = set.replicas().iter().map(|replica| replica.address());
    let addresses: Vec<_> = found.into_iter().map(ReplicaAddress::from).collect();
    let same =
        known.len() == addresses.len() && known.into_iter().all(|one| addresses.contains(one));
    (!same && !addresses.is_empty()).then(|| Set::new(addresses, set.replicas()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_changes_the_set_only_if_it_is_another() {
        let at = |last: u8| SocketAddr::from(([10, 0, 0, last], 9001));
        let shown = |set: &Set| {
            let replicas = set.replicas().iter();
            replicas
                .map(|r| r.address().to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let none = Set::new([], &[]);
        let two = next(&none, [at(2), at(1), at(2)]).unwrap();
        assert_eq!(shown(&two), "10.0.0.1:9001 10.0.0.2:9001");
        assert!(next(&two, [at(1), at(2)]).is_none());
        assert!(next(&two, []).is_none(), "it would be no server at all");
        let other = next(&two, [at(2), at(3)]).unwrap();
        assert_eq!(shown(&other), "10.0.0.2:9001 10.0.0.3:9001");
        assert!(Arc::ptr_eq(&two.replicas()[1], &other.replicas()[0]));
        let many = (0..=MOST as u16).map(|port| SocketAddr::from(([10, 0, 0, 1], port + 1)));
        assert_eq!(next(&none, many).unwrap().replicas().len(), MOST);
    }
}
