//! The keyring's text, and what an export holds.

use super::*;

#[test]
fn the_text_form_gives_the_same_keys_back() {
    let ring = Keyring::generate();
    let again = Keyring::parse(&ring.to_text()).unwrap();
    assert_eq!(*again.to_text(), *ring.to_text());
    assert!(again.can_sign());
}

#[test]
fn an_export_opens_its_server_alone_and_cannot_sign() {
    let ring = Keyring::generate();
    let (github, jira) = (
        ServerName::parse("github").unwrap(),
        ServerName::parse("jira").unwrap(),
    );
    let text = ring.export(&github).unwrap();
    let part = Keyring::parse(&text).unwrap();
    assert!(!part.can_sign() && part.covers(&github) && !part.covers(&jira));
    let key = |ring: &Keyring, server| {
        ring.server_keys(server)
            .next()
            .unwrap()
            .1
            .expose_bytes()
            .to_vec()
    };
    assert_eq!(key(&part, &github), key(&ring, &github));
    assert_ne!(key(&ring, &jira), key(&ring, &github));
    let root = STANDARD.encode(ring.servers[0].key.key.expose_bytes());
    assert!(!text.contains(&root), "the root stays behind");
    assert!(!text.contains(" sign "));
}

#[test]
fn what_is_not_a_keyring_is_refused_without_showing_it() {
    let good = Keyring::generate().to_text();
    let mut cases = vec![
        (String::new(), "no `realm` key"),
        ("r1 realm x".into(), "line 1: write four words"),
        ("r1 realm x !!!!".into(), "line 1: the key is not base64"),
        ("r1 realm x AAAA".into(), "line 1: the key is not 32 bytes"),
    ];
    for (kind, says) in [
        ("realm ", "no `realm`"),
        ("index ", "no `index`"),
        ("server ", "no `server`"),
        ("sign ", "no `sign`"),
    ] {
        let without: String = good
            .lines()
            .filter(|l| !l.contains(kind))
            .map(|l| format!("{l}\n"))
            .collect();
        cases.push((without, says));
    }
    cases.push((
        format!("{}{}", *good, *Keyring::generate().to_text()),
        "same id",
    ));
    for (text, says) in cases {
        let error = Keyring::parse(&text).err().expect(says).to_string();
        assert!(error.contains(says), "{error} / {says}");
    }
}
