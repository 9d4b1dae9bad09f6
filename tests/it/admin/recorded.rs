//! What administrators do over the API, as the audit trail has it.

use std::fs;
use std::time::{Duration, Instant};

use cloakroom::vault::Role;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::{Office, key};
use crate::cli::run_in;

const BOUND: Duration = Duration::from_secs(5);
const TRAIL: &str = "[audit]\nfile = \"trail/audit.jsonl\"\n";

impl Office {
    /// The acts that are recorded and pass, once there are so many.
    pub(super) async fn acts(&self, most: usize, passes: impl Fn(&Value) -> bool) -> Vec<Value> {
        let folder = self.proxy.folder.path();
        let files = ["trail/audit.jsonl", "cloakroom-data/audit.jsonl"];
        let since = Instant::now();
        loop {
            let text = files.iter().find_map(|file| {
                let text = fs::read_to_string(folder.join(file));
                text.ok()
            });
            let text = text.unwrap_or_default();
            // The last line may be half there while it is written.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let records = whole
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            let acts: Vec<Value> = records
                .filter(|record: &Value| record["event"] == "admin" && passes(record))
                .collect();
            if acts.len() >= most {
                return acts;
            }
            assert!(
                since.elapsed() < BOUND,
                "{} of {most}: {acts:#?}",
                acts.len()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The trail has no place to be, and none can be made there.
    fn take_trail_away(&self) {
        let folder = self.proxy.folder.path();
        fs::rename(folder.join("trail"), folder.join("away")).unwrap();
        fs::write(folder.join("trail"), "").unwrap();
    }

    fn put_trail_back(&self) {
        let folder = self.proxy.folder.path();
        fs::remove_file(folder.join("trail")).unwrap();
        fs::rename(folder.join("away"), folder.join("trail")).unwrap();
    }

    fn command(&self, line: &str, input: &str) {
        let args = line.split_whitespace();
        let done = block_in_place(|| run_in(self.proxy.folder.path(), args, input.as_bytes()));
        assert_eq!(done.code, 0, "{line}: {}", done.err);
    }
}

// Fails when `Trail::begin` does not wait where it must, or `act` goes on whatever it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_to_be_recorded_and_cannot_be_is_not_done() {
    let office = Office::open(&format!("{TRAIL}required = true\n")).await;
    let add = || office.ask("POST", "/users", json!({"username": "dora"}));
    office.take_trail_away();
    for _ in 0..3 {
        let problem = office.is(add().await, 503);
        assert_eq!(problem["type"], "/problems/unrecorded", "{problem}");
    }
    office.is(office.ask("GET", "/users/dora", Value::Null).await, 404);
    office.put_trail_back();
    let since = Instant::now();
    while add().await.0 != 201 {
        assert!(since.elapsed() < BOUND, "the trail is back");
        sleep(Duration::from_millis(50)).await;
    }
}

// Fails when an act waits for a record it may do without: what nobody waits for is written once it can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_need_not_be_recorded_is_done_and_told_later() {
    let office = Office::open(TRAIL).await;
    office.take_trail_away();
    for name in ["dora", "emil"] {
        let added = office.ask("POST", "/users", json!({"username": name}));
        office.is(added.await, 201);
    }
    office.put_trail_back();
    let acts = office.acts(4, |act| act["act"] == "user.add").await;
    let outcomes: Vec<_> = acts.iter().map(|act| act["outcome"].clone()).collect();
    assert_eq!(outcomes, ["begun", "done", "begun", "done"]);
}

// Fails when one of both ways calls an act another name, or tells of it what the other does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_is_recorded_the_same_over_http_and_by_a_command() {
    let office = Office::open(TRAIL).await;
    let ways = [
        (
            (
                "POST",
                "/users",
                json!({"username": "u", "description": "x"}),
            ),
            ("user add u --description x", ""),
        ),
        (
            ("PATCH", "/users/u", json!({"notes": "canary-note"})),
            ("user update u --notes canary-note", ""),
        ),
        (
            ("PUT", "/users/u/limits", json!({"rate": 5})),
            ("user update u --rate 5", ""),
        ),
        (
            ("PUT", "/users/u/acts-for", json!({"patterns": ["v*"]})),
            ("user update u --acts-for v*", ""),
        ),
        (
            (
                "PUT",
                "/users/u/mcp-access",
                json!({"blocked_tools": ["drop"]}),
            ),
            ("access set u --block-tool drop", ""),
        ),
        (
            ("POST", "/groups", json!({"name": "g"})),
            ("group add g", ""),
        ),
        (
            (
                "PUT",
                "/groups/g/mcp-access",
                json!({"allowed_mcps": ["git*"]}),
            ),
            ("access set --group g --allow-server git*", ""),
        ),
        (
            ("PUT", "/groups/g/members/u", Value::Null),
            ("group join g u", ""),
        ),
        (
            (
                "PUT",
                "/users/u/secrets/github/TOKEN",
                json!({"value": "canary-1"}),
            ),
            ("secret set u github TOKEN", "canary-1"),
        ),
        (
            (
                "PUT",
                "/groups/g/secrets/github/TOKEN",
                json!({"value": "canary-2"}),
            ),
            ("group secret set g github TOKEN", "canary-2"),
        ),
        (
            ("DELETE", "/groups/g/secrets/github/TOKEN", Value::Null),
            ("group secret delete g github TOKEN", ""),
        ),
        (
            ("DELETE", "/users/u/secrets/github", Value::Null),
            ("secret delete u github --all", ""),
        ),
        (
            (
                "POST",
                "/users/u/keys",
                json!({"key_name": "laptop", "ttl_days": 1}),
            ),
            ("key issue u --name laptop --ttl 1d", ""),
        ),
        (
            (
                "POST",
                "/admin/keys",
                json!({"name": "x", "role": "reader"}),
            ),
            ("admin key issue x --role reader", ""),
        ),
        (
            ("DELETE", "/groups/g/members/u", Value::Null),
            ("group leave g u", ""),
        ),
        (
            ("PATCH", "/users/u/enable", json!({"enabled": false})),
            ("user disable u", ""),
        ),
        (
            ("DELETE", "/groups/g", Value::Null),
            ("group delete g --yes", ""),
        ),
        (
            ("DELETE", "/users/u", Value::Null),
            ("user delete u --yes", ""),
        ),
    ];
    for ((method, path, body), _) in &ways {
        let (status, document) = office.ask(method, path, body.clone()).await;
        assert!((200..300).contains(&status), "{method} {path}: {document}");
    }
    for (_, (line, input)) in &ways {
        office.command(line, input);
    }
    let acts = office.acts(4 * ways.len(), |_| true).await;
    assert_eq!(acts.len(), 4 * ways.len());
    // The id of a key that was made is another each time: there at the end, and only there.
    let told = |act: &Value| {
        let mut act = act.clone();
        let issues = act["act"].as_str().unwrap().ends_with("key.issue");
        let id = act["detail"].as_object_mut().unwrap().remove("key");
        let known = id.is_some_and(|id| id.as_str().unwrap().len() == 16);
        assert_eq!(known, issues && act["outcome"] == "done", "{act}");
        ["act", "target", "detail", "impersonation", "outcome"].map(|field| act[field].clone())
    };
    let (over_http, by_command) = acts.split_at(2 * ways.len());
    for (one, other) in over_http.iter().zip(by_command) {
        assert_eq!(one["actor"]["kind"], "admin key");
        assert_eq!(other["actor"]["kind"], "command line");
        assert_eq!(told(one), told(other));
    }
    let passes = |act: &&Value| act["impersonation"] == true && act["outcome"] == "begun";
    let passing: Vec<_> = by_command.iter().filter(passes).collect();
    assert_eq!(
        passing.len(),
        2,
        "acting for others, and a key: {passing:#?}"
    );
    assert!(!format!("{acts:?}").contains("canary"));
}

// Fails when the flag comes from comparing names: a key may be called like a user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_s_key_is_impersonation_whatever_its_maker_is_called() {
    let office = Office::open(TRAIL).await;
    office.proxy.add_user("alice").await;
    office.proxy.add_user("bob").await;
    let alice = key(&office.proxy, "alice", Role::Admin).await;
    let mut statuses = Vec::new();
    for user in ["alice", "bob"] {
        let path = format!("/users/{user}/keys");
        let issued = office.ask_as(alice.key.reveal(), "POST", &path, json!({}));
        statuses.push(issued.await.status);
    }
    assert_eq!(statuses, [201, 403]);
    let acts = office.acts(3, |act| act["act"] == "key.issue").await;
    let told: Vec<_> = acts
        .iter()
        .map(|act| ["target", "outcome"].map(|field| act[field].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [["alice", "begun"], ["alice", "done"], ["bob", "refused"]]
    );
    for act in &acts {
        assert_eq!(act["impersonation"], true, "{act}");
        assert_eq!(act["actor"]["key"], alice.id.as_str(), "{act}");
        assert_eq!(act["address"], "127.0.0.1", "{act}");
    }
}
