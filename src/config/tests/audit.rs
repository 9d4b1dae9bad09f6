use super::*;

const REDIS: &str = "[store]\nurl = 'redis://127.0.0.1'\n";

fn audit(lines: &str) -> crate::config::Audit {
    good(&format!("{GITHUB}{REDIS}[audit]\n{lines}\n")).audit
}

fn refused(lines: &str) -> String {
    bad(&format!("{GITHUB}[audit]\n{lines}\n"))
}

#[test]
fn the_trail_goes_to_a_file_in_the_data_folder_unless_said() {
    let none = good(&format!("data_dir = 'd'\n{GITHUB}")).audit;
    assert_eq!(none.file, Some("d/audit.jsonl".into()));
    assert!(!none.stdout && !none.required && !none.sync && none.stream.is_none());
    assert_eq!(audit("file = 'a/b.jsonl'").file, Some("a/b.jsonl".into()));
    assert_eq!(audit("file = ''").file, None);
    let all = audit(
        "file = ''\nredis_stream = 'trail-1'\nredis_keep = 1000\nrequired = true\nsync = true",
    );
    let stream = all.stream.unwrap();
    assert_eq!((stream.name.as_str(), stream.keep), ("trail-1", 1000));
    assert!(all.required && all.sync);
    let by_variable = [
        ("CLOAKROOM_AUDIT__STDOUT", "true"),
        ("CLOAKROOM_AUDIT__FILE", ""),
    ];
    let config = parse(GITHUB, &by_variable).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.audit.stdout && config.audit.file.is_none());
}

// Fails when a trail that is required may go nowhere.
#[test]
fn what_makes_no_trail_is_refused() {
    let said = refused("file = ''\nrequired = true");
    assert!(
        said.contains("audit.required: nothing can be recorded"),
        "{said}"
    );
    let said = refused("redis_stream = 'audit'");
    assert!(
        said.contains("audit.redis_stream: is for a Redis store only"),
        "{said}"
    );
    for (line, why) in [
        (
            "file = 7",
            "audit.file: is a number; write the path of a file, or \"\" for none",
        ),
        ("stdout = 'yes'", "audit.stdout: write true or false"),
        ("redis_stream = 'a b'", "audit.redis_stream: write 1 to 63"),
        ("redis_stream = ''", "audit.redis_stream: write 1 to 63"),
        (
            "redis_keep = 999",
            "audit.redis_keep: write a number from 1000 to 1000000000",
        ),
        (
            "anchors_for = '23h'",
            "audit.anchors_for: out of range; write a duration from 1day to",
        ),
        ("fsync = true", "audit.fsync: unknown key"),
    ] {
        let said = refused(line);
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn the_trail_counts_only_at_the_start() {
    let (before, after) = (
        good(GITHUB),
        good(&format!("{GITHUB}[audit]\nstdout = true\n")),
    );
    assert_eq!(before.at_start().differing(&after.at_start()), ["[audit]"]);
}
