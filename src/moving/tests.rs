//! Files as people and attackers write them, and users who change while they are imported.

mod stopped;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::identity::KeyDigest;
use crate::names::{GroupName, Pattern, SecretName, ServerName, UserName};
use crate::store::{self, Settings, StoreUrl};
use crate::vault::{
    Access, AdoptedKey, GROUPS_MAX, Keyring, Limits, NewUser, SECRETS_MAX, SecretValue, Vault,
    VaultError,
};

const CANARY: &str = "canary-31c0";

fn servers() -> Servers {
    let mut servers = Servers::default();
    let names: BTreeSet<_> = [SecretName::parse("TOKEN").unwrap()].into();
    let desk = ServerName::parse("desk").unwrap();
    servers.add(desk, names.clone(), Some(names));
    servers
}

fn csv(text: impl AsRef<[u8]>) -> Result<Parsed, FileError> {
    batch(text.as_ref(), &Names::default(), &servers(), Issue::Key)
}

fn json(text: impl AsRef<[u8]>) -> Result<Parsed, FileError> {
    gateway(text.as_ref(), &Names::default(), &servers(), 1)
}

/// All that is said about a file.
fn said(parsed: &Result<Parsed, FileError>) -> String {
    match parsed {
        Ok(parsed) => format!("{:?} {:?}", parsed.refused, parsed.notes),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_hostile_csv_is_refused_by_the_row_and_nothing_of_it_is_repeated() {
    let long = "x".repeat(1 << 20);
    let head = "username,email,description,desk.TOKEN";
    for (row, says) in [
        ("", ""),
        ("a\0b,,,", "not a user name"),
        (",,,", "no user name"),
        ("al,canary-31c0,,", "e-mail"),
        ("al,a@b,\u{1b}[2Jcanary-31c0,", "control characters"),
        (&format!("al,,,{long}"), "64 KiB"),
        ("al,,,canary-31c0\0", "desk.TOKEN"),
        ("al,,canary-31c0", "cells"),
        ("al,,,canary-31c0\nal,,,", "more than once"),
        ("al,x@y,,\nbo,X@y,,", "more than once"),
    ] {
        let text = format!("{head}\r\n{row}\r\n");
        let parsed = csv(&text);
        let words = said(&parsed);
        assert!(words.contains(says) && !words.contains(CANARY), "{words}");
        assert!(
            words.len() < 2000 && parsed.unwrap().drafts.is_empty(),
            "{row:.40}"
        );
    }
    let parsed = csv(b"username,desk.TOKEN\nal,\xff\xfe\n");
    assert!(said(&parsed).contains("UTF-8"), "{}", said(&parsed));
    // A file without its first line begins with data.
    for text in [
        "al,canary-31c0\n",
        "",
        "\u{feff}",
        "username,username\n",
        "username,canary\n",
    ] {
        let words = said(&csv(text));
        assert!(csv(text).is_err() && !words.contains(CANARY), "{words}");
    }
    let good = csv("\u{feff}username,desk.TOKEN\r\n\"al\",\"a \"\"b\"\"\"\r\n\r\nbo,\r\n").unwrap();
    assert_eq!(good.drafts.len(), 2, "{:?}", good.refused);
    let value = &good.drafts[0].sets[0].values[0].1;
    assert_eq!(value.expose_value(), b"a \"b\"");
    assert_eq!(good.drafts[1].at, "line 4");
}

#[test]
fn a_hostile_json_is_refused_and_nothing_of_it_is_repeated() {
    let deep = format!(
        "{{\"users\": {{\"al\": {}1{}}}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for text in [
        "",
        "[]",
        "{}",
        "{\"users\": 1}",
        "{\"users\": {}, \"users\": {}}",
        "canary-31c0",
        "{\"users\": {\"al\": {\"email\": \"canary-31c0\u{0}\"}}}",
    ] {
        let parsed = json(text);
        assert!(
            parsed.is_err() && !said(&parsed).contains(CANARY),
            "{}",
            said(&parsed)
        );
    }
    let hash = "a".repeat(64);
    let keys = format!("\"api_keys\": {{\"{hash}\": {{\"username\": \"al\"}}}}");
    for (user, says) in [
        ("1", "not an object"),
        ("{\"email\": 1}", "`email`"),
        ("{\"email\": \"a@b\", \"email\": \"canary-31c0\"}", "twice"),
        ("{\"api_keys\": [\"mcpgw_canary-31c0\"]}", "SHA-256"),
        ("{\"api_keys\": \"canary-31c0\"}", "list"),
        ("{\"mcp_allowed\": [1]}", "list"),
        ("{\"mcp_allowed\": [\"a b\"]}", "pattern"),
        ("{\"created_at\": \"canary-31c0\"}", "time"),
        ("{\"metadata\": [\"canary-31c0\"]}", "object"),
    ] {
        let text = format!("{{\"users\": {{\"al\": {user}}}, {keys}}}");
        let words = said(&json(&text));
        assert!(
            words.contains(says) && !words.contains(CANARY),
            "{user}: {words}"
        );
        assert!(json(&text).unwrap().drafts.is_empty());
    }
    assert!(json(&deep).map_or(true, |parsed| parsed.drafts.is_empty()));
    let twice = format!("{{\"users\": {{\"al\": {{}}, \"al\": {{}}}}, {keys}}}");
    assert!(json(twice).unwrap().drafts.is_empty());
    let claimed =
        format!("{{\"users\": {{\"bo\": {{\"api_keys\": [\"{hash}\"]}}, \"al\": {{}}}}, {keys}}}");
    let parsed = json(claimed).unwrap();
    assert_eq!((parsed.drafts.len(), parsed.refused.len()), (1, 1));
    let orphan = json(format!("{{\"users\": {{}}, {keys}}}")).unwrap();
    assert_eq!(orphan.refused.len(), 1);
    let good = json(format!("\u{feff}{{\"users\": {{\"al\": {{}}}}, {keys}}}")).unwrap();
    assert_eq!(good.drafts[0].keys.len(), 1);
}

#[test]
fn a_path_into_credentials_is_followed() {
    let maps: Vec<Map> = vec![
        "desk.TOKEN=a.b".parse().unwrap(),
        "desk.MORE=c?".parse().unwrap(),
    ];
    let table = |credentials: &str| {
        let cell = credentials.replace('"', "\"\"");
        let text = format!("user_name,api_key,credentials\nal,usr_{CANARY},\"{cell}\"\n");
        mappings(text.as_bytes(), &Names::default(), &servers(), &maps)
    };
    let parsed = table(r#"{"a": {"b": 42}}"#).unwrap();
    assert_eq!(parsed.drafts[0].sets[0].values[0].1.expose_value(), b"42");
    assert!(!said(&Ok(parsed)).contains(CANARY));
    for bad in [
        r#"{"a": {"b": ""}}"#,
        r#"{"a": {"b": null}}"#,
        r#"{"a": {"b": ["canary-31c0"]}}"#,
        r#"{"a": "canary-31c0"}"#,
        r#""canary-31c0""#,
        "canary-31c0",
        "",
    ] {
        let parsed = table(bad);
        assert!(!said(&parsed).contains(CANARY), "{bad}: {}", said(&parsed));
        assert!(parsed.unwrap().drafts.is_empty(), "{bad}");
    }
    for bad in [
        "desk.TOKEN",
        "desk=a",
        "desk.TOKEN=",
        "desk.TOKEN=?",
        "DESK.TOKEN=a",
        "desk.1=a",
    ] {
        assert!(bad.parse::<Map>().is_err(), "{bad}");
    }
}

async fn vault() -> Vault {
    let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
    let store = store::open(&Settings::new(url)).await.unwrap();
    Vault::new(store, Arc::new(Keyring::generate()))
}

fn key(text: &[u8]) -> AdoptedKey {
    AdoptedKey {
        digest: KeyDigest::of_any(text).unwrap(),
        name: None,
        created: None,
        profile: None,
        expires: None,
        revoked: None,
        limits: Limits::default(),
    }
}

fn only(text: &str) -> Draft {
    csv(text).unwrap().drafts.pop().unwrap()
}

// Fails when a merge widens what one who is there may do.
#[tokio::test]
async fn a_merge_gives_no_limits_and_lets_nobody_act_for_others() {
    let vault = vault().await;
    let alice = UserName::parse("alice").unwrap();
    vault.add_user(&alice, NewUser::default()).await.unwrap();
    let mut draft = only("username,desk.TOKEN\nalice,secret\n");
    draft.issue = None;
    draft.acts_for = vec![Pattern::parse("*").unwrap()];
    draft.user.limits.daily = Some(u64::MAX);
    let how = How {
        merge: true,
        ..How::default()
    };
    let plan = plan(&vault, draft, how, &Groups::Here).await.unwrap();
    assert_eq!(plan.summary().kept, ["limits", "acts_for"]);
    plan.carry_out(&vault, None).await.unwrap();
    let record = vault.user(&alice).await.unwrap().record;
    assert!(record.acts_for.is_empty() && record.limits.is_none());
    assert_eq!(vault.secrets(&alice).await.unwrap().len(), 1);
}

// Fails when a step finds its user by the name, or a list of what is allowed narrows by groups as they were.
#[tokio::test]
async fn who_changes_between_plan_and_act_is_not_given_what_was_planned() {
    let vault = vault().await;
    let alice = UserName::parse("alice").unwrap();
    let group = GroupName::parse("staff").unwrap();
    let access = Access {
        allowed_servers: vec![Pattern::parse("mail").unwrap()],
        ..Access::default()
    };
    vault.add_group(&group, None, access).await.unwrap();
    let how = How {
        merge: true,
        allows_all: true,
        ..How::default()
    };
    let draft = || {
        let mut draft = only("username,groups,desk.TOKEN\nalice,staff,secret\n");
        draft.issue = None;
        draft.user.access.allowed_servers = vec![Pattern::parse("desk").unwrap()];
        draft
    };
    vault.add_user(&alice, NewUser::default()).await.unwrap();
    let planned = plan(&vault, draft(), how, &Groups::Here).await.unwrap();
    vault.add_member(&group, &alice).await.unwrap();
    planned.carry_out(&vault, None).await.unwrap();
    let user = vault.user(&alice).await.unwrap();
    assert!(user.record.access.is_empty(), "widened");

    vault.delete_user(&alice).await.unwrap();
    vault.add_user(&alice, NewUser::default()).await.unwrap();
    let planned = plan(&vault, draft(), how, &Groups::Here).await.unwrap();
    vault.delete_user(&alice).await.unwrap();
    vault.add_user(&alice, NewUser::default()).await.unwrap();
    planned.carry_out(&vault, None).await.unwrap_err();
    let user = vault.user(&alice).await.unwrap();
    assert!(user.record.groups.is_empty() && user.record.access.is_empty());
    assert!(vault.secrets(&alice).await.unwrap().is_empty());
}

// Fails when what does not fit is found only after something was written.
#[tokio::test]
async fn too_many_groups_and_secrets_are_found_by_the_plan() {
    let vault = vault().await;
    let names: Vec<_> = (0..=GROUPS_MAX).map(|n| format!("g{n}")).collect();
    for name in &names {
        let name = GroupName::parse(name).unwrap();
        vault
            .add_group(&name, None, Access::default())
            .await
            .unwrap();
    }
    let mut draft = only(&format!("username,groups\nalice,{}\n", names.join(";")));
    draft.issue = None;
    let refused = plan(&vault, draft, How::default(), &Groups::Here).await;
    assert!(refused.err().unwrap().to_string().contains("groups"));
    let mut draft = only("username,desk.TOKEN\nalice,secret\n");
    let values = &mut draft.sets[0].values;
    for n in 0..SECRETS_MAX {
        let value = SecretValue::new(b"x".to_vec().into()).unwrap();
        values.push((SecretName::parse(&format!("T{n}")).unwrap(), value));
    }
    let refused = plan(&vault, draft, How::default(), &Groups::Here).await;
    assert!(refused.err().unwrap().to_string().contains("secrets"));
}

// Fails when carry_out does not take back what it made.
#[tokio::test]
async fn a_user_whose_key_was_taken_meanwhile_is_not_there_afterwards() {
    let vault = vault().await;
    let (alice, bob) = (
        UserName::parse("alice").unwrap(),
        UserName::parse("bob").unwrap(),
    );
    let mut parsed = csv("username,email,desk.TOKEN\nalice,a@x.org,secret\n").unwrap();
    let mut draft = parsed.drafts.pop().unwrap();
    draft.keys = vec![key(b"usr_one"), key(b"usr_two")];
    draft.issue = None;
    let plan = plan(&vault, draft, How::default(), &Groups::Here)
        .await
        .unwrap();
    let bob = vault.add_user(&bob, NewUser::default()).await.unwrap();
    vault.adopt_key(&bob, &key(b"usr_two")).await.unwrap();

    let why = plan.carry_out(&vault, None).await.err().unwrap();
    assert!(why.to_string().contains("known here already"), "{why}");
    assert!(matches!(
        vault.user(&alice).await,
        Err(VaultError::NoUser(_))
    ));
    assert!(vault.user_with_email("a@x.org").await.is_err());
    let one = key(b"usr_one").digest.key_id();
    assert!(matches!(vault.key(&one).await, Err(VaultError::NoKey(_))));
    let two = key(b"usr_two").digest.key_id();
    assert!(vault.key(&two).await.unwrap().record.user == bob.id);
}
