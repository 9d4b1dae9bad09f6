//! `init` through the real binary: by options, by a pipe, and as a person at a terminal.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{cloakroom, run_in};

fn init(folder: &Path, args: &[&str]) -> super::Done {
    run_in(folder, ["init"].iter().chain(args), b"")
}

/// That what was made serves: it loads without a warning, and the commands named work.
#[track_caller]
fn works(folder: &Path, server: &str, secret: &str) {
    let run = |line: &str, input: &str| {
        let done = run_in(folder, line.split(' '), input.as_bytes());
        assert_eq!(done.code, 0, "{line}: {} {}", done.out, done.err);
        done
    };
    let checked = run("check --offline", "");
    assert!(!checked.out.contains("error"), "{}", checked.out);
    let config = cloakroom::config::load(Some(&folder.join("cloakroom.toml")), []).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    run("user add alice", "");
    run(&format!("secret set alice {server} {secret}"), "s3cret");
    let explained = run(&format!("explain --user alice --server {server}"), "");
    assert!(!explained.out.contains("MISSING"), "{}", explained.out);
    for file in ["cloakroom.toml", "master.keys"] {
        let mode = fs::metadata(folder.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn options_are_enough_and_the_rest_is_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let url = "https://mcp.linear.app/mcp";
    let done = init(folder.path(), &["--url", url, "--json"]);
    let document = done.document();
    assert_eq!(document["server"], "linear");
    assert_eq!(document["secrets"][0], "LINEAR_TOKEN");
    let next = document["next"].as_array().unwrap();
    assert!(
        next.contains(&"cloakroom secret set alice linear LINEAR_TOKEN".into()),
        "{next:?}"
    );
    let text = fs::read_to_string(folder.path().join("cloakroom.toml")).unwrap();
    assert!(
        text.lines().nth(1).unwrap().contains("every setting"),
        "{text}"
    );
    works(folder.path(), "linear", "LINEAR_TOKEN");

    let other = folder.path().join("a b/c");
    let args = [
        "--dir",
        "a b/c",
        "--yes",
        "--server",
        "jira",
        "--url",
        "http://127.0.0.1:9/mcp",
        "--argument",
        "token=${JIRA}",
        "--tools",
        "create_issue,add_comment",
    ];
    let done = init(folder.path(), &args);
    assert_eq!(done.code, 0, "{}", done.err);
    let next = "cloakroom --config 'a b/c/cloakroom.toml' secret set alice jira JIRA";
    assert!(done.out.contains(next), "{}", done.out);
    works(&other, "jira", "JIRA");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_half_made() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--url", "http://127.0.0.1:9/mcp"];
    for file in ["cloakroom.toml", "master.keys"] {
        fs::write(folder.path().join(file), "mine").unwrap();
        let done = init(folder.path(), &args);
        assert_eq!(done.code, 1);
        assert!(
            done.err.contains(file) && done.err.contains("--dir"),
            "{}",
            done.err
        );
        assert_eq!(
            fs::read_to_string(folder.path().join(file)).unwrap(),
            "mine"
        );
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    for (args, code, says) in [
        (&[][..], 2, "nobody is there to be asked"),
        (&["--url", "ftp://x"], 2, "write http://"),
        (&["--url", "http://u:hunter2@x/"], 2, "write http://"),
        (
            &["--url", "http://x/", "--server", "mcp"],
            2,
            "not a server name",
        ),
        (
            &["--url", "http://x/", "--header", "Authorization: hunter2"],
            2,
            "${TOKEN}",
        ),
        (
            &["--url", "http://x/", "--header", "Host: ${T}"],
            64,
            "Host",
        ),
        (
            &["--url", "http://x/", "--header", "A: ${T}", "--no-secret"],
            2,
            "cannot be used with",
        ),
    ] {
        let done = init(folder.path(), args);
        assert_eq!(done.code, code, "{args:?}: {}", done.err);
        assert!(done.err.contains(says), "{args:?}: {}", done.err);
        assert!(
            args.contains(&"--server") || !done.err.contains("hunter2"),
            "{}",
            done.err
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{args:?}");
    }
}

/// Runs `init` at a terminal of its own (`script` of util-linux) and types `answers`.
fn typed(folder: &Path, answers: &str) -> (bool, String) {
    let binary = cloakroom();
    let line = format!("{} init", binary.get_program().to_str().unwrap());
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .current_dir(folder);
    for (name, _) in binary.get_envs() {
        script.env_remove(name);
    }
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(answers.as_bytes()).unwrap();
    // Held open: its end would end the terminal before the last answer is read.
    let done = child.wait_with_output().unwrap();
    drop(input);
    (
        done.status.success(),
        String::from_utf8_lossy(&done.stdout).into_owned(),
    )
}

#[test]
fn a_person_is_asked_until_the_answer_is_one_and_shown_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, screen) = typed(folder.path(), "nonsense\nhttp://127.0.0.1:9/mcp\n\n7\n\n");
    assert!(ok, "{screen}");
    for shown in [
        "write http://",
        "[server]",
        "a number from 1 to 5",
        "[1]",
        "SERVER_TOKEN",
    ] {
        assert!(screen.contains(shown), "no {shown} in {screen}");
    }
    works(folder.path(), "server", "SERVER_TOKEN");

    let folder = tempfile::tempdir().unwrap();
    let answers = "http://127.0.0.1:9/sse\njira\n3\ntoken=${JIRA}\nadd, remove\n";
    let (ok, screen) = typed(folder.path(), answers);
    assert!(ok, "{screen}");
    works(folder.path(), "jira", "JIRA");
    let text = fs::read_to_string(folder.path().join("cloakroom.toml")).unwrap();
    assert!(
        text.contains("sse_url") && text.contains("tools = [\"add\", \"remove\"]"),
        "{text}"
    );
}
