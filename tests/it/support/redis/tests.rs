//! Whether the servers do what the tests that use them rely on.

use std::time::{Duration, Instant};

use super::{Cluster, Fleet, Login, Move, Sentinels, Server, slot_of, wait_until};

const LOGINS: [Login<'_>; 3] = [
    Login::Anybody,
    Login::Password,
    Login::User {
        rule: "~* +@all",
        sentinel_rule: "+@all",
    },
];

/// Each way to log in, the last with TLS, all at once: most of the time is spent waiting.
fn each_login(test: impl Fn(usize, Fleet<'_>) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for (n, login) in LOGINS.into_iter().enumerate() {
            let tls = n == LOGINS.len() - 1;
            scope.spawn(move || test(n, Fleet { login, tls }));
        }
    });
}

#[test]
fn sentinels_replace_a_dead_master() {
    each_login(|n, fleet| {
        let begun = Instant::now();
        let servers = Sentinels::start(fleet);
        println!("sentinels, after {:?}", begun.elapsed());
        let old = servers.master_port();
        servers.master().ask::<()>("SET a 1").unwrap();
        wait_until("the replicas have it", || {
            let has = |replica: &&Server| replica.ask::<u32>("EXISTS a") == Ok(1);
            servers.replicas().iter().all(has)
        });
        if n == 1 {
            servers.failover();
        } else {
            servers.master().kill();
        }
        let lost = Instant::now();
        wait_until("another is master", || servers.master_port() != old);
        println!("another is master after {:?}", lost.elapsed());
        wait_until("it can be written", || {
            servers.master().ask::<()>("SET b 1").is_ok()
        });
        assert_eq!(servers.master().ask::<u32>("EXISTS a b"), Ok(2));
    });
}

#[test]
fn a_cluster_replaces_a_dead_master_and_moves_slots() {
    each_login(|n, fleet| {
        let begun = Instant::now();
        let cluster = Cluster::start(fleet);
        println!("cluster, after {:?}", begun.elapsed());
        let slot = slot_of("x{ab}");
        let owner = cluster.owner(slot);
        let claimed: u16 = cluster.node(owner).ask("CLUSTER KEYSLOT x{ab}").unwrap();
        assert_eq!(claimed, slot);
        for key in ["x{ab}", "y{ab}"] {
            let set = format!("SET {key} 1");
            cluster.node(owner).ask::<()>(&set).unwrap();
        }
        let to = (owner + 1) % 3;
        let pause = Duration::from_millis(1);
        assert_eq!(cluster.move_slot(slot, to, Move { pause }), 2);
        cluster.wait_settled();
        assert_eq!(cluster.owner(slot), to);
        assert_eq!(cluster.node(to).ask::<u32>("WAIT 1 1000"), Ok(1));
        if n == 1 {
            cluster.failover(to);
        } else {
            cluster.node(to).kill();
        }
        let lost = Instant::now();
        cluster.wait_taken_over(to);
        println!("another is master after {:?}", lost.elapsed());
        let found = cluster
            .node(cluster.owner(slot))
            .ask::<u32>("EXISTS x{ab} y{ab}");
        assert_eq!(found, Ok(2));
    });
}
