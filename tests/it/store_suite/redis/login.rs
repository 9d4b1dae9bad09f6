//! Who is let in, and what he may do: logins, permissions, certificates.

use super::*;
use crate::store_suite::places::documented_rule;
use crate::support::redis::authority;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_login_is_told() {
    let server = server_with("requirepass right");
    let address = format!("127.0.0.1:{}", server.port);
    for login in ["", ":hunter2@", "nobody:hunter2@"] {
        let error = refusal_within_3_seconds(&settings(&format!("redis://{login}{address}"))).await;
        assert!(
            matches!(error, OpenError::LoginRefused { .. }),
            "{login} {error}"
        );
    }
    // One without HELLO repeats what it was sent.
    let old = server_with("rename-command HELLO \"\"\nrequirepass hunter2");
    let error = refusal_within_3_seconds(&settings(&format!(
        "redis://:hunter2@127.0.0.1:{}",
        old.port
    )))
    .await;
    assert!(error.to_string().contains("6.2 or newer"), "{error}");
    open(&settings(&format!("redis://:right@{address}")))
        .await
        .unwrap();
    open(&settings(&format!("redis://default:right@{address}/3")))
        .await
        .unwrap();
}

/// Each part of the documented rule is needed, and its lack is told at start: as a refusal, or as a
/// remark where the store works without it. (Those of a Cluster are tried with a Cluster,
/// `select` below.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_told() {
    let rule = documented_rule();
    let parts = rule
        .split_whitespace()
        .filter(|word| word.starts_with(['+', '~']));
    let parts: Vec<_> = parts.collect();
    assert!(parts.len() > 10, "{rule}");
    for (n, part) in parts.iter().enumerate() {
        let lines = rule
            .replacen(&format!(" {part}"), "", 1)
            .replace("user cloakroom", "user lacking");
        let server = server_with(&format!("appendonly yes\n{lines}"));
        let url = format!("redis://lacking:p%40ss@127.0.0.1:{}", server.port);
        let opened = open(&settings(&url)).await;
        match *part {
            "+cluster|slots" | "+asking" | "+select" => {
                let store = opened.unwrap();
                assert_eq!(store.remarks().await.unwrap(), Vec::<String>::new());
            }
            "+info" | "+client|tracking" => {
                let remarks = opened.unwrap().remarks().await.unwrap();
                assert!(
                    remarks.len() == 1 && remarks[0].contains(part),
                    "{remarks:?}"
                );
            }
            _ => {
                let error = opened
                    .err()
                    .unwrap_or_else(|| panic!("opened without {part}"));
                assert!(
                    matches!(error, OpenError::NotAllowed { .. }),
                    "{n} without {part}: {error}"
                );
            }
        }
    }
}

/// The advice is the whole rule, for this store's keys, also when it is a database that may not be chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_that_is_advised_works_when_it_is_followed() {
    let server = server_with("user cloakroom on >p@ss resetchannels -@all +hello +auth");
    let settings = Settings {
        key_prefix: "other:".to_owned(),
        ..settings(&format!(
            "redis://cloakroom:p%40ss@127.0.0.1:{}/3",
            server.port
        ))
    };
    let error = refusal(&settings).await;
    assert!(error.to_string().contains("refused to switch"), "{error}");
    let OpenError::NotAllowed { rule, .. } = error else {
        panic!("{error}");
    };
    let () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("cloakroom")
        .arg(rule.split_whitespace().collect::<Vec<_>>())
        .query(&mut server.raw())
        .unwrap();
    open(&settings).await.unwrap();

    // No rule helps where there is no such database.
    let url = format!("redis://127.0.0.1:{}/99", server.port);
    let error = refusal(&super::settings(&url)).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

/// It works on, and says that changes have to be looked for; then that they are reported again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_to_report_changes_is_watched_blindly() {
    let rule = documented_rule().replace("+client|tracking", "");
    let server = server_with(&rule);
    let url = format!("redis://cloakroom:p%40ss@127.0.0.1:{}", server.port);
    let store = open(&settings(&url)).await.unwrap();
    let mut events = store.watch();
    assert_eq!(events.recv().await, Some(Event::Blind));
    assert_eq!(events.recv().await, Some(Event::Alive));
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(events.recv().await, Some(Event::Alive));
    let () = redis::cmd("ACL")
        .arg(&["SETUSER", "cloakroom", "+client|tracking"])
        .query(&mut server.raw())
        .unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.delete_if(&id("k/ab"), 1).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_certificate_is_told() {
    let server = Server::start(Options {
        tls: true,
        lines: "",
    });
    let right = Settings {
        ca_file: Some(server.ca_file()),
        ..settings(&format!("rediss://localhost:{}", server.port))
    };
    open(&right).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let other_ca = folder.path().join("other.pem");
    std::fs::write(&other_ca, authority().1).unwrap();
    let wrong_host = settings(&format!("rediss://127.0.0.1:{}", server.port)).url;
    for wrong in [
        Settings {
            ca_file: Some(other_ca.clone()),
            ..right.clone()
        },
        Settings {
            ca_file: None,
            ..right.clone()
        },
        Settings {
            url: wrong_host,
            ..right.clone()
        },
    ] {
        let error = refusal_within_3_seconds(&wrong).await;
        assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    }
    // TLS where the server speaks none.
    let plain = Server::plain();
    let url = settings(&format!("rediss://localhost:{}", plain.port)).url;
    let error = refusal_within_3_seconds(&Settings {
        url,
        ..right.clone()
    })
    .await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    // And no TLS where it speaks nothing else.
    let error = refusal_within_3_seconds(&settings(&server.url())).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");

    std::fs::write(&other_ca, "no certificate").unwrap();
    for ca_file in [other_ca, folder.path().join("missing.pem")] {
        let error = refusal(&Settings {
            ca_file: Some(ca_file),
            ..right.clone()
        })
        .await;
        assert!(matches!(error, OpenError::Certificates(_)), "{error}");
    }
}

// Fails when `client_config` shows no certificate, or `from_answer` does not know what TLS says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_is_shown_a_certificate() {
    let server = Server::start(Options {
        tls: true,
        lines: "tls-auth-clients yes",
    });
    let nobody = Settings {
        ca_file: Some(server.ca_file()),
        ..settings(&format!("rediss://localhost:{}", server.port))
    };
    let right = Settings {
        identity: Some(server.identity()),
        ..nobody.clone()
    };
    let store = open(&right).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));

    let error = refusal_within_3_seconds(&nobody).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("store.cert_file"), "{error}");
    let foreign = Server::start(Options {
        tls: true,
        lines: "",
    });
    let foreign = Settings {
        identity: Some(foreign.identity()),
        ..right.clone()
    };
    let error = refusal_within_3_seconds(&foreign).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
}
