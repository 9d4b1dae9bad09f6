//! What a child finds when it begins.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::io::{FdFlags, fcntl_setfd};

use super::*;

// Fails when it is cleared neither by the proxy nor by the supervisor nor by the child.
#[tokio::test]
async fn the_environment_is_what_is_said_and_nothing_else() {
    let room = Room::new();
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some(),
        "ours has more"
    );
    let secret = "s3cret \u{1f9e5}\n=x";
    let spec = room.spec(&["/usr/bin/env", "-0"], &[("NOTION_TOKEN", secret)]);
    let left = finish(room.launcher.launch(spec).await.unwrap()).await;
    let own = room.at("own").display().to_string();
    let mut found: Vec<_> = left.out.split_terminator('\0').collect();
    found.sort_unstable();
    let expected = [
        format!("HOME={own}"),
        "LANG=C.UTF-8".to_owned(),
        format!("NOTION_TOKEN={secret}"),
        format!("PATH={PATH}"),
        format!("TMPDIR={own}/tmp"),
    ];
    assert_eq!(found, expected);
    assert_eq!(left.exit, Exit::Code(0));
    let spec = room.spec(&["printenv", "LANG"], &[("LANG", "de_DE.UTF-8")]);
    let left = finish(room.launcher.launch(spec).await.unwrap()).await;
    assert_eq!(left.out, "de_DE.UTF-8\n", "what is given counts");
}

// Fails when the supervisor keeps what it inherited (`sys::close_inherited`), or passes anything on.
#[tokio::test]
async fn no_descriptor_is_inherited_but_the_three() {
    // As from a shell: `cloakroom serve 9< secret`.
    let leaky = fs::File::open("/etc/hosts").unwrap();
    fcntl_setfd(&leaky, FdFlags::empty()).unwrap();
    let room = Room::new();
    fcntl_setfd(&leaky, FdFlags::CLOEXEC).unwrap();
    // `ls` opens the folder it lists.
    let left = room.run(&["ls", "/proc/self/fd"]).await;
    assert_eq!(left.out, "0\n1\n2\n3\n", "{left:?}");
}

#[tokio::test]
async fn it_speaks_over_its_pipes_and_is_a_group_of_its_own() {
    let room = Room::new();
    let script = "read line; echo \"got $line\"; echo err >&2; pwd; read -r stat </proc/self/stat; \
                  echo \"$stat\"; exit 7";
    let mut process = room.launch(&["bash", "-c", script]).await.unwrap();
    process.stdin.write_all(b"a line\n").await.unwrap();
    let pid = process.handle.pid();
    let left = finish(process).await;
    let own = room.at("own");
    assert_eq!((left.exit, left.err.as_str()), (Exit::Code(7), "err\n"));
    let lines: Vec<_> = left.out.lines().collect();
    assert_eq!(lines[..2], ["got a line", own.to_str().unwrap()]);
    let stat: Vec<_> = lines[2].rsplit_once(") ").unwrap().1.split(' ').collect();
    let supervisor = room.launcher.supervisor_pid();
    let expected = [supervisor, pid, pid].map(|number| number.to_string());
    assert_eq!(stat[1..4], expected);
    for folder in [&own, &own.join("tmp")] {
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{folder:?}");
    }
}

#[tokio::test]
async fn a_killed_child_says_so() {
    let room = Room::new();
    let process = room.launch(&["sleep", "1000"]).await.unwrap();
    let clone = process.handle.clone();
    process.handle.terminate();
    assert_eq!(process.handle.exited().await, Exit::Signal(15));
    assert_eq!(clone.exited().await, Exit::Signal(15), "many may wait");
    assert_eq!(process.handle.memory(), None);
}

#[tokio::test]
async fn it_runs_with_the_limits_and_without_privileges() {
    let mut room = Room::new();
    room.containment.limits = ProcessLimits {
        open_files: 256,
        processes: Some(200),
        data: Some(1 << 32),
        cpu_seconds: Some(60),
    };
    // By the shell itself: what it starts is not shown its own `/proc/PID`.
    let script = "for file in status limits oom_score_adj; do mapfile -t lines </proc/self/$file; \
                  printf '%s\n' \"${lines[@]}\"; done; umask";
    let left = room.run(&["bash", "-c", script]).await;
    let words: Vec<_> = left
        .out
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "NoNewPrivs: 1",
        "CapInh: 0000000000000000",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapAmb: 0000000000000000",
        "Max core file size 0 0 bytes",
        "Max open files 256 256 files",
        "Max processes 200 200 processes",
        "Max data size 4294967296 4294967296 bytes",
        "Max cpu time 60 60 seconds",
        "500",
        "0077",
    ] {
        assert!(words.iter().any(|found| found == line), "{line}: {left:?}");
    }
    // What root has left to lose.
    let bounding = words.iter().any(|line| line == "CapBnd: 0000000000000000");
    assert!(
        bounding || rustix::process::geteuid().as_raw() != 0,
        "{left:?}"
    );
    room.containment.limits = ProcessLimits::default();
    let left = room.sh("ulimit -n; ulimit -Hn").await;
    assert_eq!(left.out, "1024\n1024\n");
}

#[tokio::test]
async fn a_user_of_its_own_needs_root_and_a_folder_of_its_own() {
    const USER: u32 = 54321;
    let mut room = Room::new();
    room.containment.user = Some((USER, USER + 1));
    if rustix::process::geteuid().as_raw() != 0 {
        let refusal = room.refusal(&["true"]).await;
        assert!(refusal.contains("which only root may"), "{refusal}");
        return;
    }
    let mode = |mode| fs::set_permissions(room.folder.path(), fs::Permissions::from_mode(mode));
    mode(0o700).unwrap();
    let refusal = room.refusal(&["true"]).await;
    assert!(
        refusal.contains("cannot be opened"),
        "the room is ours alone: {refusal}"
    );
    mode(0o711).unwrap();
    let left = room
        .sh("id -u; id -g; id -G; touch a; stat -c %u-%g-%a . a tmp; kill -0 $PPID")
        .await;
    let lines: Vec<_> = left.out.lines().collect();
    let (user, group) = (USER, USER + 1);
    assert_eq!(
        lines[..3],
        [user, group, group].map(|id| id.to_string()),
        "{left:?}"
    );
    assert_eq!(
        lines[3..],
        [700, 600, 700].map(|mode| format!("{user}-{group}-{mode}")),
        "{left:?}"
    );
    assert!(left.err.contains("not permitted"), "{left:?}");
    room.containment.user = None;
    let refusal = room.refusal(&["true"]).await;
    assert!(
        refusal.contains("belongs to user 54321, not 0"),
        "{refusal}"
    );
}

#[tokio::test]
async fn its_memory_is_told_with_that_of_those_below_it() {
    let room = Room::new();
    let script = "x = bytearray(64 << 20); import sys; print(len(x), flush=True); sys.stdin.read()";
    let script = format!("/usr/bin/python3 -c '{script}'; echo end");
    let mut process = room.launch(&["sh", "-c", &script]).await.unwrap();
    let mut said = [0; 9];
    process.stdout.read_exact(&mut said).await.unwrap();
    let memory = process.handle.memory().unwrap();
    assert!((64 << 20..256 << 20).contains(&memory), "{memory}");
    assert_eq!(finish(process).await.out, "end\n");
}
