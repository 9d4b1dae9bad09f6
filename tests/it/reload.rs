//! A configuration that is changed while requests are served.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::echo::{Manner, echo};
use crate::support::health::Health;
use crate::support::load::Load;
use crate::support::proxy::{Lines, Place, Proxy};

const TAKEN: &str = "cloakroom_config_reloads_total";
const REFUSED: &str = "cloakroom_config_reload_failures_total";

struct House {
    proxy: Proxy,
    health: Health,
}

impl House {
    async fn before(servers: &[(&str, String)]) -> Self {
        let health = Health::somewhere();
        let root = health.line();
        let lines = Lines {
            root: &root,
            ..Lines::default()
        };
        let proxy = Proxy::start(&Place::Sqlite, &lines, servers).await;
        Self { proxy, health }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.proxy.folder.path().join("cloakroom.toml")).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.proxy.folder.path().join("cloakroom.toml"), text).unwrap();
    }

    async fn wait_for(&self, figure: &str, value: f64) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.health.figure(figure).await < value {
            assert!(Instant::now() < until, "{figure} does not become {value}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn table(name: &str, url: &str, slot: &str) -> String {
    format!("[servers.{name}]\nurl = \"{url}\"\n[servers.{name}.headers]\n{slot}\n")
}

// Fails when `listener.swap` is not called, and when a core keeps connections of the configuration before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_in_force_soon_and_no_request_fails_meanwhile() {
    let (first, second) = (echo(Manner::Moody).await, echo(Manner::Moody).await);
    let house = House::before(&[("one", first.clone()), ("two", second.clone())]).await;
    let proxy = &house.proxy;
    let key = proxy.settle_in("alice", &["one", "three"]).await;
    let mut client = proxy.client();
    assert_eq!(client.call("three", &key, "n").await.status, 404);
    let load = Load::start(proxy, "one", 20, Duration::from_millis(5)).await;
    let before = house.text();
    for round in 0..6 {
        // `one` moves from server to server, `three` comes and goes.
        let url = [&second, &first][round % 2];
        let old = [&first, &second][round % 2];
        let mut text = before.replace(first.as_str(), "FIRST");
        text = text.replacen("FIRST", url, 1);
        if round % 2 == 0 {
            text += &table("three", old, "Authorization = \"Bearer ${TOKEN}\"");
        }
        house.write(&text);
        house.wait_for(TAKEN, round as f64 + 1.0).await;
        let expected = [200, 404][round % 2];
        // The connection was there before, and serves by what is in force now.
        assert_eq!(client.call("three", &key, "n").await.status, expected);
    }
    let tally = load.stop().await;
    tally.assert_clean("while the configuration changed");
    assert!(tally.served > 500, "{tally:?}");
    assert_eq!(house.health.figure(REFUSED).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_leaves_everything_as_it_was() {
    let house = House::before(&[("one", echo(Manner::Json).await)]).await;
    let key = house.proxy.settle_in("alice", &["one"]).await;
    let mut client = house.proxy.client();
    let good = house.text();
    let half = &good[..good.len() / 2];
    let no_key = good.replace("[servers.one", "[servers.other");
    for (round, bad) in [half, "listen = ", &good.replace("url", "ulr"), ""]
        .iter()
        .enumerate()
    {
        house.write(bad);
        house.wait_for(REFUSED, round as f64 + 1.0).await;
        let latest = "cloakroom_config_last_reload_successful";
        assert_eq!(house.health.figure(latest).await, 0.0);
        assert_eq!(client.call("one", &key, "n").await.status, 200);
    }
    // It is not tried again all the time.
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(house.health.figure(REFUSED).await, 4.0);
    for said in [
        "the configuration from before stays in force",
        "did you mean `url`?",
    ] {
        house.proxy.log_with(said).await;
    }
    house.write(&no_key);
    house.wait_for(TAKEN, 1.0).await;
    assert_eq!(client.call("one", &key, "n").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_and_a_swapped_symlink_are_noticed_and_what_waits_for_a_restart_is_told() {
    let house = House::before(&[("one", echo(Manner::Json).await)]).await;
    let key = house.proxy.settle_in("alice", &["one"]).await;
    let mut client = house.proxy.client();
    assert_eq!(client.call("one", &key, "n").await.status, 200);
    house.proxy.serving.signal(Signal::HUP);
    house.wait_for(TAKEN, 1.0).await;

    // As Kubernetes lays a ConfigMap out, and changes it.
    let at = |name: &str| house.proxy.folder.path().join(name);
    let slots = house.text();
    let path = at("cloakroom.toml");
    for (version, name) in [("..1", "one"), ("..2", "two")] {
        std::fs::create_dir(at(version)).unwrap();
        let text = slots.replace("[servers.one", &format!("[servers.{name}"));
        std::fs::write(at(version).join("cloakroom.toml"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink("..data/cloakroom.toml", &path).unwrap();
    house.wait_for(TAKEN, 2.0).await;
    assert_eq!(
        house.health.figure("cloakroom_config_restart_wanted").await,
        0.0
    );
    symlink("..2", at("..new")).unwrap();
    std::fs::rename(at("..new"), at("..data")).unwrap();
    house.wait_for(TAKEN, 3.0).await;
    assert_eq!(client.call("one", &key, "n").await.status, 404);

    std::fs::remove_file(&path).unwrap();
    house.write(&format!("threads = 1\n{slots}"));
    house.wait_for(TAKEN, 4.0).await;
    assert_eq!(
        house.health.figure("cloakroom_config_restart_wanted").await,
        1.0
    );
}
