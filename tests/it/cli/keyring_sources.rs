//! The keyring from a variable, from a credential of systemd, and from a mounted secret's links.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;

use super::{House, cloakroom};

/// Runs `line` with these variables besides; its keyring is where `[keyring]` says.
fn run(house: &House, keyring: &str, line: &str, variables: &[(&str, &Path)]) -> Output {
    let config = format!("{}[keyring]\n{keyring}\n", super::CONFIG);
    fs::write(house.path("cloakroom.toml"), config).unwrap();
    cloakroom()
        .current_dir(house.folder.path())
        .args(line.split(' '))
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&[&done.stdout[..], &done.stderr[..]].concat()).into_owned()
}

#[test]
fn the_same_keyring_opens_the_store_from_every_source() {
    let house = House::with_alice();
    let text = fs::read_to_string(house.path("master.keys")).unwrap();
    fs::rename(house.path("master.keys"), house.path("cloakroom.keys")).unwrap();
    fs::set_permissions(house.path("cloakroom.keys"), Permissions::from_mode(0o440)).unwrap();
    let folder = house.folder.path();

    // Fails when any source is read from elsewhere: nothing else here holds the keys.
    let variable = [("CLOAKROOM_KEYRING", Path::new(&text))];
    let done = run(&house, "env = 'CLOAKROOM_KEYRING'", "user list", &variable);
    assert!(said(&done).contains("alice"), "{}", said(&done));
    let credentials = [("CREDENTIALS_DIRECTORY", folder)];
    let named = "credential = 'cloakroom.keys'";
    let done = run(&house, named, "user list", &credentials);
    assert!(said(&done).contains("alice"), "{}", said(&done));

    // Fails when the mode of a credential is not looked at.
    fs::set_permissions(house.path("cloakroom.keys"), Permissions::from_mode(0o444)).unwrap();
    let done = run(&house, named, "user list", &credentials);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    fs::set_permissions(house.path("cloakroom.keys"), Permissions::from_mode(0o400)).unwrap();

    fs::create_dir(house.path("..2026")).unwrap();
    fs::rename(house.path("cloakroom.keys"), house.path("..2026/k")).unwrap();
    symlink("..2026", house.path("..data")).unwrap();
    symlink("..data/k", house.path("k")).unwrap();
    let done = run(&house, "file = 'k'", "user list", &[]);
    assert!(said(&done).contains("alice"), "{}", said(&done));
}

#[test]
fn a_source_without_a_keyring_says_what_to_do() {
    let house = House::with_alice();
    let secret = [("KEYS", Path::new("hunter2"))];
    for (keyring, line, variables, says) in [
        (
            "env = 'KEYS'",
            "user list",
            &[][..],
            "set it to the text of the file",
        ),
        ("env = 'KEYS'", "user list", &secret, "the variable KEYS: "),
        (
            "credential = 'c'",
            "user list",
            &[],
            "LoadCredential=c:/path",
        ),
        ("env = 'KEYS'", "keyring init", &[], "changes a file"),
        ("env = 'KEYS'", "keyring rotate", &[], "changes a file"),
        ("credential = 'c'", "keyring retire", &[], "changes a file"),
    ] {
        let done = run(&house, keyring, line, variables);
        let said = said(&done);
        assert_eq!(done.status.code(), Some(1), "{line}: {said}");
        assert!(
            said.contains(says) && !said.contains("hunter2"),
            "{line}: {said}"
        );
    }
}
