//! Secrets a group shares, as a backend gets them.

use std::sync::Arc;

use bytes::Bytes;
use cloakroom::names::{ProfileName, SecretName, ServerName};
use cloakroom::store::Record;
use cloakroom::vault::{AccessChange, Reader, SecretValue};
use serde_json::Value;

use super::{House, JSON, ask, blocks_tools, code, group, is_served};
use crate::support::client::Answer;
use crate::support::proxy::Place;
use crate::support::redis::Server;

const GROUP: &str = "build";

fn nothing() -> AccessChange {
    AccessChange::default()
}

fn is_missing(answer: &Answer) -> bool {
    answer.status == 200 && code(answer) == 4240
}

fn is_unreadable(answer: &Answer) -> bool {
    answer.status == 200 && code(answer) == 4241
}

impl House {
    pub(super) async fn share(&self, name: &str, server: &str, secret: &str, value: &str) {
        let value = SecretValue::new(value.as_bytes().to_vec().into()).unwrap();
        let (server, secret) = (
            ServerName::parse(server).unwrap(),
            SecretName::parse(secret).unwrap(),
        );
        let profile = ProfileName::default_profile();
        let (vault, group) = (&self.proxy.vault, group(name));
        let set = vault.set_secret(&group, &server, &profile, &secret, &value);
        set.await.unwrap();
    }

    /// A group that shares both secrets of the server.
    async fn sharing(&self) {
        self.add_group(GROUP, nothing()).await;
        self.share(GROUP, JSON, "TOKEN", "shared-token").await;
        self.share(GROUP, JSON, "TEAM", "shared-team").await;
    }

    /// A user without any secret, and his key.
    async fn bare(&self, name: &str) -> String {
        self.proxy.add_user(name).await;
        let issued = self.proxy.issue_key(name, None).await;
        issued.key.reveal().to_owned()
    }

    /// Waits until the backend gets these two.
    async fn until_sent(&self, key: &str, token: &str, team: &str) {
        self.until(JSON, key, &format!("{token} {team}"), |answer| {
            let reached = self.backend.reached().pop();
            let sent = reached.is_some_and(|one| one.token == token && one.team == team);
            sent && is_served(answer)
        })
        .await;
    }

    /// The record of what the group shares.
    async fn shared_record(&self) -> Record {
        let vault = self.proxy.reopened();
        let id = vault.group(&group(GROUP)).await.unwrap().id;
        let file = self.proxy.folder.path().join("master.keys");
        let ring = cloakroom::cli::open::keyring(&file.into()).unwrap();
        let place = Reader::new(Arc::new(ring)).secrets_record(id, JSON, "default");
        let found = self.proxy.store.get_many(&[place]).await.unwrap();
        found.into_iter().next().flatten().unwrap()
    }

    /// Whose each secret is, by `explain`: `user`, or the group's name.
    async fn explained(&self, name: &str) -> Vec<(String, String)> {
        let line = format!("explain --user {name} --server {JSON}");
        let document = self.json(&line, "").await;
        let text = self.ok(&line, "").await;
        assert!(!document.to_string().contains("shared-to") && !text.contains("shared-to"));
        let slots = document["slots"].as_array().unwrap().clone();
        let word = |value: &Value| value.as_str().map(str::to_owned);
        slots
            .iter()
            .map(|slot| {
                let secret = &slot["secrets"][0];
                let owner = word(&secret["group"]).or_else(|| word(&slot["from"]));
                (word(&secret["name"]).unwrap(), owner.unwrap())
            })
            .collect()
    }
}

fn owners(all: &[(String, String)]) -> Vec<(&str, &str)> {
    all.iter()
        .map(|(name, owner)| (&**name, &**owner))
        .collect()
}

// Fails when `Unsealed::add` lets what comes later win, or a request goes by the group that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_gets_what_the_group_shares_where_he_has_nothing_himself() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        house.sharing().await;
        let alice = house.bare("alice").await;
        let bob = house.settle_in("bob").await;
        house.until(JSON, &alice, "no member", is_missing).await;
        assert!(house.backend.reached().is_empty());
        for who in ["alice", "bob"] {
            house.join(GROUP, who).await;
        }
        house
            .until_sent(&alice, "shared-token", "shared-team")
            .await;
        house.until_sent(&bob, "bob-json-secret", "bob-team").await;
        let explained = house.explained("alice").await;
        assert_eq!(owners(&explained), [("TOKEN", GROUP), ("TEAM", GROUP)]);

        // His own wins, one by one.
        house.proxy.set_secret("alice", JSON, "her-own").await;
        house.until_sent(&alice, "her-own", "shared-team").await;
        let explained = house.explained("alice").await;
        assert_eq!(owners(&explained), [("TOKEN", "user"), ("TEAM", GROUP)]);
        house.share(GROUP, JSON, "TEAM", "shared-anew").await;
        house.until_sent(&alice, "her-own", "shared-anew").await;
        house
            .ok(&format!("secret delete alice {JSON} --all"), "")
            .await;
        house
            .until_sent(&alice, "shared-token", "shared-anew")
            .await;

        // The next one counts after the first.
        house.add_group("later", nothing()).await;
        house.share("later", JSON, "TOKEN", "later-token").await;
        house.join("later", "alice").await;
        house
            .until_sent(&alice, "shared-token", "shared-anew")
            .await;
        house.leave(GROUP, "alice").await;
        house.until(JSON, &alice, "she left", is_missing).await;
        house.backend.reached();
        let mut client = house.proxy.client();
        let answer = ask(&mut client, JSON, &alice, "get_one").await;
        assert!(is_missing(&answer), "{}", answer.text());
        assert!(answer.text().contains("TEAM") && !answer.text().contains("TOKEN"));
        assert!(house.backend.reached().is_empty());
        house.until_sent(&bob, "bob-json-secret", "bob-team").await;
    }
}

// Fails when a set of a group that does not open, or is not there, counts as one without secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_shares_and_cannot_be_read_is_an_error_and_nothing_in_its_place() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        house.sharing().await;
        let alice = house.bare("alice").await;
        // He has one of both, and the next group both.
        let bob = house.bare("bob").await;
        house.proxy.set_secret("bob", JSON, "his-own").await;
        house.add_group("later", nothing()).await;
        for secret in ["TOKEN", "TEAM"] {
            house.share("later", JSON, secret, "later").await;
        }
        for who in ["alice", "bob"] {
            house.join(GROUP, who).await;
            house.join("later", who).await;
        }
        house
            .until_sent(&alice, "shared-token", "shared-team")
            .await;
        house.until_sent(&bob, "his-own", "shared-team").await;

        let good = house.shared_record().await;
        let mut blob = good.blob.to_vec();
        let last = blob.len() - 1;
        blob[last] ^= 1;
        let store = &house.proxy.store;
        let bad = Record {
            version: good.version + 1,
            blob: Bytes::from(blob),
            ..good.clone()
        };
        store.put_if(bad.clone(), Some(good.version)).await.unwrap();
        for key in [&alice, &bob] {
            house.until(JSON, key, "damaged", is_unreadable).await;
        }
        store.delete_if(&bad.id, bad.version).await.unwrap();
        for key in [&alice, &bob] {
            house.until(JSON, key, "gone", is_unreadable).await;
        }
        house.backend.reached();
        let mut client = house.proxy.client();
        for who in ["alice", "bob"] {
            let fresh = house.proxy.issue_key(who, None).await;
            let answer = ask(&mut client, JSON, fresh.key.reveal(), "get_one").await;
            assert!(is_unreadable(&answer), "a cold key: {}", answer.text());
            assert!(!answer.text().contains("shared-to"));
            let line = format!("explain --user {who} --server {JSON}");
            let explained = house.run(&line, "").await;
            assert_eq!(explained.code, 1, "{}", explained.out);
            assert!(explained.err.contains(GROUP), "{}", explained.err);
        }
        assert!(house.backend.reached().is_empty());
        store.put_if(good, None).await.unwrap();
        house
            .until_sent(&alice, "shared-token", "shared-team")
            .await;
    }
}

// Fails when groups are read one by one where they are cached, or with every key anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_key_of_a_known_group_costs_two_reads() {
    const READS: &str = "cloakroom_store_reads_total";
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        house.sharing().await;
        let mut keys = Vec::new();
        for name in ["alice", "bob", "carol"] {
            keys.push(house.bare(name).await);
            house.join(GROUP, name).await;
        }
        house
            .until_sent(&keys[0], "shared-token", "shared-team")
            .await;
        house
            .until_sent(&keys[0], "shared-token", "shared-team")
            .await;
        // A read may come in between of its own, such as one after news from the store that was late.
        let mut fewest = f64::INFINITY;
        for key in &keys[1..] {
            let before = house.health.figure(READS).await;
            let mut client = house.proxy.client();
            let answer = ask(&mut client, JSON, key, "get_one").await;
            assert!(is_served(&answer), "{}", answer.text());
            fewest = fewest.min(house.health.figure(READS).await - before);
        }
        assert_eq!(fewest, 2.0);
    }
}

// Fails when a rotation passes by records of groups, or what they share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_what_they_share_outlive_a_rotation() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let mut house = House::start(&place).await;
        house.sharing().await;
        house.group_access(GROUP, blocks_tools(&["drop"])).await;
        let alice = house.bare("alice").await;
        house.join(GROUP, "alice").await;
        house
            .until_sent(&alice, "shared-token", "shared-team")
            .await;
        let before = house.shared_record().await;
        // With nobody serving it goes on at once.
        house.proxy.serving.stop().await;
        let rotated = house.json("keyring rotate", "").await;
        assert_eq!(rotated["state"], "done", "{rotated}");
        let retired = house.json("keyring retire", "").await;
        let retired = retired["retired"].as_array().unwrap().len();
        assert_eq!(retired, 3, "of the realm, the server and the signature");
        assert_ne!(house.shared_record().await.blob, before.blob);

        let replica = house.proxy.replica(None);
        let mut client = replica.client();
        house.backend.reached();
        let answer = ask(&mut client, JSON, &alice, "get_one").await;
        assert!(is_served(&answer), "{}", answer.text());
        let reached = house.backend.reached().pop().unwrap();
        assert_eq!(
            (&*reached.token, &*reached.team),
            ("shared-token", "shared-team")
        );
        let answer = ask(&mut client, JSON, &alice, "drop").await;
        assert_eq!(code(&answer), 4032, "{}", answer.text());
        let shown = house.json(&format!("group show {GROUP}"), "").await;
        assert!(shown.to_string().contains("alice"), "{shown}");
        house
            .ok(
                &format!("group secret set {GROUP} {JSON} TEAM"),
                "set-after",
            )
            .await;
        house.ok(&format!("group leave {GROUP} alice"), "").await;
        house.ok(&format!("group join {GROUP} alice"), "").await;
        let explained = house.explained("alice").await;
        assert_eq!(owners(&explained), [("TOKEN", GROUP), ("TEAM", GROUP)]);
    }
}
