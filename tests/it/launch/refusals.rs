//! What does not begin says why.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let room = Room::new();
    let script = |name: &str, text: &str, mode: u32| {
        let path = room.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let plain = script("plain", "#!/bin/sh\n", 0o644);
    let orphan = script("orphan", "#!/nowhere/python3\n", 0o755);
    for (command, text) in [
        (vec![], "the command is empty"),
        (
            vec!["notion-mcp-server"],
            "`notion-mcp-server` is not in PATH",
        ),
        (vec!["./server"], "must be an absolute path"),
        (vec!["/nowhere/server"], "No such file or directory"),
        (vec![plain.as_str()], "is not executable (chmod +x)"),
        (vec!["/usr"], "it is no file"),
        (
            vec![orphan.as_str()],
            "\"/nowhere/python3\" cannot be run: No such file",
        ),
    ] {
        let refusal = room.refusal(&command).await;
        assert!(refusal.contains(text), "{command:?}: {refusal}");
    }
    // A program built for a system whose loader is not here.
    let mut program = fs::read("/usr/bin/env").unwrap();
    let loader = b"/ld-linux-";
    let at = program
        .windows(loader.len())
        .position(|part| part == loader);
    let at = at.expect("a program that is linked dynamically");
    program[at + 1..at + 3].copy_from_slice(b"no");
    let foreign = room.at("foreign");
    fs::write(&foreign, program).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).unwrap();
    let refusal = room.refusal(&[foreign.to_str().unwrap()]).await;
    assert!(
        refusal.contains("(the loader it was built for is missing)"),
        "{refusal}"
    );
}

// Fails when a value is cut at its zero byte, or a name may hold a whole variable.
#[tokio::test]
async fn what_no_environment_can_hold_is_refused() {
    let room = Room::new();
    for (name, value, text) in [
        ("TOKEN", "a\0b", "TOKEN has a zero byte"),
        ("A=B", "c", "\"A=B\" is not possible"),
        ("", "c", "is not possible"),
    ] {
        let refused = room
            .launcher
            .launch(room.spec(&["true"], &[(name, value)]))
            .await;
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains(text), "{refused}");
        assert!(!refused.contains(value) || value.len() == 1, "{refused}");
    }
    let long = "x".repeat(300_000);
    let refused = room
        .launcher
        .launch(room.spec(&["true"], &[("TOKEN", &long)]))
        .await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("its environment is too long"), "{refused}");
}

// Fails when links are followed: a child could lead another's folder to what is not its own.
#[tokio::test]
async fn a_folder_that_is_not_ones_own_is_refused() {
    let mut room = Room::new();
    fs::create_dir(room.at("real")).unwrap();
    std::os::unix::fs::symlink(room.at("real"), room.at("own")).unwrap();
    let refusal = room.refusal(&["true"]).await;
    assert!(refusal.contains("is a symbolic link"), "{refusal}");
    fs::remove_file(room.at("own")).unwrap();
    room.containment.forbidden = vec![room.at("own/keys")];
    let refusal = room.refusal(&["true"]).await;
    assert!(
        refusal.contains("must not be: move one of them"),
        "{refusal}"
    );
}

#[tokio::test]
async fn what_is_forbidden_is_refused_before_anything_runs() {
    let mut room = Room::new();
    fs::create_dir(room.at("app")).unwrap();
    let script = room.at("app/server.sh");
    fs::write(&script, "echo ran").unwrap();
    let script = script.to_str().unwrap();
    assert_eq!(room.run(&["sh", script]).await.out, "ran\n");
    room.containment.forbidden = vec![room.at("app/cloakroom.toml")];
    let refusal = room.refusal(&["sh", script]).await;
    assert!(
        refusal.contains("app/cloakroom.toml\" must not be"),
        "{refusal}"
    );
    room.containment.sandbox = Sandbox::None;
    assert_eq!(room.run(&["sh", script]).await.out, "ran\n");
}
