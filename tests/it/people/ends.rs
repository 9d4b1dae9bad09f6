//! Whatever ends what a key may do ends its streams, at every replica; and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use rustix::process::Signal;
use tokio::time::sleep;

use super::{BOUND, House, JSON, OLD, allows_servers, ask, blocks_servers};
use crate::support::client::{Client, listen};
use crate::support::fingerprint;
use crate::support::proxy::{Place, Serving, beside_few, user};
use crate::support::redis::Server;
use crate::support::sse;

const STATIC: &str = "mcpgw_of_a_dashboard_0123456789";

/// A stream that is read all the time.
#[derive(Clone)]
struct Open {
    events: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Open {
    async fn open(mut client: Client, server: &str, key: &str) -> Self {
        let request = match server {
            OLD => sse::listen(server, key),
            _ => listen(server, key),
        };
        let (connection, answer) = client.open(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let open = Self {
            events: Arc::default(),
            ended: Arc::default(),
        };
        let (open_too, mut body) = (open.clone(), answer.into_body());
        tokio::spawn(async move {
            let _connection = connection;
            while let Some(Ok(_)) = body.frame().await {
                open_too.events.fetch_add(1, Ordering::SeqCst);
            }
            open_too.ended.store(true, Ordering::SeqCst);
        });
        open
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Something still comes, later than now.
    async fn goes_on(&self) -> bool {
        let (since, before) = (Instant::now(), self.events.load(Ordering::SeqCst));
        // What was read when we began to look may have been sent long before.
        while self.events.load(Ordering::SeqCst) < before + 4 {
            if self.has_ended() || since.elapsed() > BOUND {
                return false;
            }
            sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Revoked,
    Disabled,
    Expired,
    Deleted,
    Blocked,
    NoLongerAllowed,
    GroupBlocks,
    JoinsWhatBlocks,
    LeavesWhatShares,
    StaticKeyGone,
}

const ENDS: [End; 10] = [
    End::Revoked,
    End::Disabled,
    End::Expired,
    End::Deleted,
    End::Blocked,
    End::NoLongerAllowed,
    End::GroupBlocks,
    End::JoinsWhatBlocks,
    End::LeavesWhatShares,
    End::StaticKeyGone,
];

/// From its issue to its end, of the key that expires: room to open all streams.
const TTL: Duration = Duration::from_secs(10);

impl House {
    async fn make_end(&self, end: End, name: &str, key: &str, replicas: &[&Serving]) {
        let (vault, who) = (&self.proxy.vault, user(name));
        match end {
            End::Revoked => self.proxy.revoke(key).await,
            End::Disabled => drop(vault.set_disabled(&who, true).await.unwrap()),
            End::Deleted => vault.delete_user(&who).await.unwrap(),
            End::Blocked => self.access(name, blocks_servers(&["*"])).await,
            End::NoLongerAllowed => self.access(name, allows_servers(&["elsewhere"])).await,
            End::GroupBlocks => {
                let blocks = blocks_servers(&[JSON, OLD]);
                self.group_access(&group_of(name), blocks).await;
            }
            End::JoinsWhatBlocks => self.join("barred", name).await,
            End::LeavesWhatShares => self.leave(&group_of(name), name).await,
            End::StaticKeyGone => {
                let path = self.proxy.folder.path().join("cloakroom.toml");
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(
                    &path,
                    text.replace(&fingerprint(STATIC.as_bytes()), &"0".repeat(64)),
                )
                .unwrap();
                replicas
                    .iter()
                    .for_each(|replica| replica.signal(Signal::HUP));
            }
            End::Expired => {
                // Its time began before the streams were opened.
            }
        }
    }
}

fn group_of(name: &str) -> String {
    format!("group-of-{name}")
}

// Each end fails with a mutation of its own: `stands` in `Gate::until_denied` always Ok (revoked, disabled,
// deleted); `left` there always LONGEST (expired); `go_on_from` not asked (all that block), or without `shares`
// (leaves); groups left out of `Identity::access`, or of `Resolver::changed` (the two of groups);
// `set_static_keys` not called on a reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_reaches_every_replica_and_ends_open_streams() {
    let _few = beside_few().await;
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let digest = fingerprint(STATIC.as_bytes());
        let root =
            format!("[static_keys.dashboard]\nsha256 = \"{digest}\"\nuser = \"staticalgone\"\n");
        let house = House::with(&place, &root).await;
        let other = house.another();
        let replicas = [&house.proxy.serving, &other];
        house.add_group("barred", blocks_servers(&["*"])).await;
        let bob = house.settle_in("bob").await;
        let mut bobs = Vec::new();
        for replica in replicas {
            bobs.push(Open::open(replica.client(), JSON, &bob).await);
        }
        for end in ENDS {
            let name = match end {
                End::StaticKeyGone => "staticalgone".to_owned(),
                _ => format!("{end:?}").to_lowercase(),
            };
            let mut key = house.settle_in(&name).await;
            match end {
                End::GroupBlocks => {
                    let group = group_of(&name);
                    house.add_group(&group, Default::default()).await;
                    house.join(&group, &name).await;
                }
                End::LeavesWhatShares => {
                    let group = group_of(&name);
                    house.add_group(&group, Default::default()).await;
                    for server in [JSON, OLD] {
                        house.share(&group, server, "TEAM", "shared").await;
                    }
                    house.join(&group, &name).await;
                }
                End::StaticKeyGone => key = STATIC.to_owned(),
                End::Expired => {
                    let issued = house.proxy.issue_key(&name, Some(TTL)).await;
                    key = issued.key.reveal().to_owned();
                }
                _ => {}
            }
            let issued = Instant::now();
            let mut open = Vec::new();
            for replica in replicas {
                for server in [JSON, OLD] {
                    open.push(Open::open(replica.client(), server, &key).await);
                }
            }
            assert!(
                open[0].goes_on().await && open[3].goes_on().await,
                "{end:?}"
            );
            house.make_end(end, &name, &key, &replicas).await;
            let written = match end {
                End::Expired => issued + TTL,
                _ => Instant::now(),
            };
            let until = written + BOUND;
            while !open.iter().all(Open::has_ended) {
                let left = open.iter().filter(|open| !open.has_ended()).count();
                assert!(Instant::now() < until, "{end:?}: {left} streams go on");
                sleep(Duration::from_millis(10)).await;
            }
            println!("{end:?}: ended {:?} after", written.elapsed());
            let expected = match end {
                End::Blocked | End::NoLongerAllowed | End::GroupBlocks | End::JoinsWhatBlocks => {
                    403
                }
                // He may go on, with what is his own.
                End::LeavesWhatShares => 200,
                _ => 401,
            };
            for replica in replicas {
                let mut client = replica.client();
                let answer = ask(&mut client, JSON, &key, "get_one").await;
                assert_eq!(answer.status, expected, "{end:?}: {}", answer.text());
                let (_connection, stream) = client.open(listen(JSON, &key)).await.unwrap();
                assert_eq!(stream.status(), expected, "{end:?}");
            }
        }
        for open in &bobs {
            assert!(open.goes_on().await, "another user's stream");
        }
    }
}

// Fails when the default of the configuration before counts for streams that were opened under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_no_longer_by_default_is_cut_off_and_nobody_else() {
    let house = House::start(&Place::Sqlite).await;
    let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
    house.access("bob", allows_servers(&[JSON])).await;
    let open = |key| Open::open(house.proxy.client(), JSON, key);
    let (alices, bobs) = (open(&alice).await, open(&bob).await);
    assert!(alices.goes_on().await && bobs.goes_on().await);
    let path = house.proxy.folder.path().join("cloakroom.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("default_access = \"none\"\n{text}")).unwrap();
    house.proxy.serving.signal(Signal::HUP);
    let since = Instant::now();
    while !alices.has_ended() {
        assert!(since.elapsed() < BOUND, "the stream goes on");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(bobs.goes_on().await, "he is allowed by name");
}
