//! The audit trail of a whole process: what is in it, what is not, and what becomes of requests without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{BOUND, EVENTS, House, JSON, ask, blocks_tools, call, code, is_served, send};
use crate::support::client::{listen, post};
use crate::support::proxy::Place;
use crate::support::redis::Server;

const TRAIL: &str = "[audit]\nfile = \"trail/audit.jsonl\"\n";

impl House {
    fn trail(&self) -> PathBuf {
        self.proxy.folder.path().join("trail/audit.jsonl")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.trail()).unwrap()
    }

    fn records(&self) -> Vec<Value> {
        let text = self.text();
        // The last line may be half there while it is written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    /// Starts and ends by writer and number, once there are so many ends.
    async fn requests(&self, most: usize) -> Vec<(Value, Value)> {
        let since = Instant::now();
        loop {
            let mut found: BTreeMap<String, [Vec<Value>; 2]> = BTreeMap::new();
            for record in self.records() {
                let event = record["event"].as_str().unwrap_or_default();
                let which = match event {
                    "start" => 0,
                    "end" => 1,
                    _ => continue,
                };
                let number = record["request"].as_u64().unwrap();
                let id = format!("{} {number:08}", record["writer"]);
                found.entry(id).or_default()[which].push(record);
            }
            let ended = found.values().filter(|[_, ends]| !ends.is_empty()).count();
            if ended >= most {
                let pair = |(id, [starts, ends]): (String, [Vec<Value>; 2])| {
                    let both = (starts.len(), ends.len());
                    assert_eq!(both, (1, 1), "{id}: {starts:?} {ends:?}");
                    (
                        starts.into_iter().next().unwrap(),
                        ends.into_iter().next().unwrap(),
                    )
                };
                return found.into_iter().map(pair).collect();
            }
            assert!(since.elapsed() < 3 * BOUND, "{ended} of {most} ended");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What `audit verify` says: its exit code, and the kinds of what it found.
    async fn verified(&self) -> (i32, Vec<String>, Value) {
        let done = self.run("audit verify trail/audit.jsonl --json", "").await;
        let document: Value = serde_json::from_str(&done.out).unwrap();
        let findings = document["findings"].as_array().unwrap().iter();
        let kinds = findings.map(|f| f["kind"].as_str().unwrap().to_owned());
        (done.code, kinds.collect(), document)
    }

    async fn assert_whole(&self) -> Value {
        let (code, kinds, document) = self.verified().await;
        assert_eq!((code, kinds), (0, Vec::new()), "{document:#}");
        document
    }
}

// Fails when the end is noted of what was refused before it was forwarded, or not noted when a client goes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_forwarded_request_has_one_start_and_one_end_and_no_value() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::with(&place, TRAIL).await;
        let alice = house.settle_in("alice").await;
        let listed = house
            .proxy
            .vault
            .keys(&crate::support::proxy::user("alice"))
            .await;
        let key_id = listed.unwrap()[0].id.to_string();
        // Bob has one secret of his own, and one of a group.
        house.proxy.add_user("bob").await;
        house
            .proxy
            .set_secret("bob", JSON, "bob-canary-secret")
            .await;
        let bob = house.json("key issue bob --name laptop", "").await;
        let bob = bob["key"].as_str().unwrap().to_owned();
        house.ok("group add build", "").await;
        house.ok("group join build bob", "").await;
        house
            .ok("group secret set build json TEAM", "team-canary-secret")
            .await;
        house.access("bob", blocks_tools(&["drop"])).await;
        house.until(JSON, &bob, "served", is_served).await;
        let since = Instant::now();
        while code(&ask(&mut house.proxy.client(), JSON, &bob, "drop").await) != 4032 {
            assert!(since.elapsed() < BOUND, "the tool is not blocked");
        }
        let before = house.backend.reached().len();
        let already = house.requests(before).await.len();
        assert_eq!(
            already, before,
            "what reached the backend, and nothing else"
        );

        let mut client = house.proxy.client();
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "inspector\u{1b}[31m", "version": "7"},
        }});
        assert_eq!(send(&mut client, JSON, &alice, &hello).await.status, 200);
        assert!(is_served(&ask(&mut client, JSON, &alice, "get_one").await));
        assert!(is_served(
            &ask(&mut client, EVENTS, &alice, "get_two").await
        ));
        let batch = json!([call(1, "get_one"), call(2, "drop")]);
        assert_eq!(send(&mut client, JSON, &alice, &batch).await.status, 200);
        assert!(is_served(&ask(&mut client, JSON, &bob, "get_one").await));
        // A stream, of which the client reads the beginning.
        let mut other = house.proxy.client();
        let (sender, answer) = other.open(listen(JSON, &alice)).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop((sender, answer));
        // None of these is forwarded.
        house.until(JSON, &bob, "served", is_served).await;
        let refused = ask(&mut client, JSON, &bob, "drop").await;
        assert_eq!(code(&refused), 4032);
        assert_eq!(
            ask(&mut client, JSON, "clk_wrong", "get_one").await.status,
            401
        );
        assert_eq!(
            ask(&mut client, "none", &alice, "get_one").await.status,
            404
        );
        let broken = client.exchange(post(JSON, &alice, "{".to_owned())).await;
        assert_eq!(broken.unwrap().status, 400);

        let all = house.requests(already + 7).await;
        assert_eq!(all.len(), already + 7);
        let new = &all[already..];
        let field = |n: usize, name: &str| new[n].0[name].clone();
        for (n, (user, server, methods, tools)) in [
            ("alice", JSON, json!(["initialize"]), json!([])),
            ("alice", JSON, json!(["tools/call"]), json!(["get_one"])),
            ("alice", EVENTS, json!(["tools/call"]), json!(["get_two"])),
            (
                "alice",
                JSON,
                json!(["tools/call", "tools/call"]),
                json!(["get_one", "drop"]),
            ),
            ("bob", JSON, json!(["tools/call"]), json!(["get_one"])),
            ("alice", JSON, json!([]), json!([])),
        ]
        .into_iter()
        .enumerate()
        {
            let (start, end) = &new[n];
            assert_eq!(start["user"], user, "{start}");
            assert_eq!(
                (&start["server"], &start["profile"]),
                (&server.into(), &"default".into())
            );
            assert_eq!((&start["methods"], &start["tools"]), (&methods, &tools));
            assert_eq!(start["address"], "127.0.0.1");
            assert_eq!(start["user_id"].as_str().unwrap().len(), 32);
            let secrets = start["secrets"].as_array().unwrap();
            let names: Vec<_> = secrets
                .iter()
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            assert_eq!(names.len(), 2, "{start}");
            assert!(
                names.contains(&"TOKEN") && names.contains(&"TEAM"),
                "{start}"
            );
            assert!(secrets.iter().all(|one| one["version"].as_u64() > Some(0)));
            for secret in secrets {
                let shared = user == "bob" && secret["name"] == "TEAM";
                let from = if shared { "group:build" } else { "user" };
                assert_eq!(secret["from"], from, "{start}");
            }
            assert_eq!(end["status"], 200);
            assert_eq!(end["complete"], n != 5, "{end}");
            assert!(end["duration_us"].as_u64() > Some(0), "{end}");
            assert!(n == 5 || end["bytes_out"].as_u64() > Some(0), "{end}");
        }
        assert_eq!(field(1, "key"), key_id.as_str());
        assert_ne!(field(4, "key"), key_id.as_str());
        assert_eq!(field(0, "client"), "inspector\\u{1b}[31m 7");

        // Many at once have one of each, too.
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (mut client, key) = (house.proxy.client(), alice.clone());
            asking.spawn(async move {
                for _ in 0..25 {
                    assert!(is_served(&ask(&mut client, JSON, &key, "get_one").await));
                }
            });
        }
        asking.join_all().await;
        assert_eq!(house.requests(already + 207).await.len(), already + 207);
        house.assert_whole().await;
        let (text, printed) = (house.text(), house.proxy.printed());
        let printed = String::from_utf8_lossy(&printed);
        for secret in [&*alice, &bob, "canary", "alice-json-secret", "alice-team"] {
            assert!(
                !text.contains(secret) && !printed.contains(secret),
                "{secret}"
            );
        }
        assert!(text.is_ascii() && !text.contains('\u{1b}'));
    }
}

// Fails when an act is recorded once, an issued key is none of somebody else's, or one byte does not matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commands_change_is_recorded_and_one_changed_byte_is_found() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::with(&place, TRAIL).await;
        let mut expected = Vec::new();
        let issued = {
            let mut act = async |line: &str, input: &str, name: &'static str, target: &str| {
                expected.push((name, target.to_owned(), "done"));
                house.ok(line, input).await
            };
            act("user add carol", "", "user.add", "carol").await;
            act(
                "secret set carol json TOKEN",
                "canary-1",
                "secret.set",
                "carol",
            )
            .await;
            act("group add build", "", "group.add", "build").await;
            act(
                "group secret set build json TEAM",
                "canary-2",
                "group.secret.set",
                "build",
            )
            .await;
            act("group join build carol", "", "group.join", "build").await;
            act(
                "access set carol --block-tool drop",
                "",
                "access.set",
                "carol",
            )
            .await;
            act("key issue carol --json", "", "key.issue", "carol").await
        };
        let issued: Value = serde_json::from_str(&issued).unwrap();
        let (key, id) = (
            issued["key"].as_str().unwrap(),
            issued["id"].as_str().unwrap(),
        );
        house.ok("key revoke -", key).await;
        expected.push(("key.revoke", id.to_owned(), "done"));
        house.ok("user disable carol", "").await;
        expected.push(("user.disable", "carol".into(), "done"));
        assert_eq!(house.run("user add carol", "").await.code, 1);
        expected.push(("user.add", "carol".into(), "failed"));
        house.ok("user show carol", "").await;
        house.ok("user list", "").await;

        let acts: Vec<_> = house
            .records()
            .into_iter()
            .filter(|record| record["event"] == "admin")
            .collect();
        let told: Vec<_> = acts
            .iter()
            .map(|act| ["act", "target", "outcome"].map(|field| act[field].as_str().unwrap()))
            .collect();
        let each = expected.iter().flat_map(|(act, target, outcome)| {
            [
                [*act, target.as_str(), "begun"],
                [*act, target.as_str(), *outcome],
            ]
        });
        assert_eq!(told, each.collect::<Vec<_>>());
        for act in &acts {
            assert_eq!(act["impersonation"], act["act"] == "key.issue", "{act}");
            assert_eq!(act["actor"]["kind"], "command line");
            assert!(act["actor"]["name"].as_str().unwrap().starts_with("uid "));
        }
        // The key that was made and the one that was revoked, by its id.
        for act in ["key.issue", "key.revoke"] {
            let end = acts.iter().rfind(|record| record["act"] == act).unwrap();
            assert_eq!(end["detail"]["key"], id, "{end}");
        }
        let text = house.text();
        assert!(!text.contains("canary") && !text.contains(key));

        let document = house.assert_whole().await;
        assert!(document["chains"].as_array().unwrap().len() > expected.len());
        // One byte of one record, whichever.
        let lines: Vec<_> = text.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains("access.set"))
            .unwrap();
        let mut changed = text.clone();
        let place = text.find("\"target\":\"carol\"").unwrap() + "\"target\":\"".len();
        changed.replace_range(place..=place, "k");
        let first = 1 + text[..place].matches('\n').count();
        fs::write(house.trail(), &changed).unwrap();
        let (code, kinds, document) = house.verified().await;
        assert_eq!(
            (code, &*kinds),
            (1, &["changed".to_owned()][..]),
            "{document:#}"
        );
        assert_eq!(document["findings"][0]["line"], first);
        // A record taken out.
        let without = lines.iter().enumerate().filter(|(n, _)| *n != at);
        let without: String = without.map(|(_, line)| format!("{line}\n")).collect();
        fs::write(house.trail(), without).unwrap();
        let (code, kinds, document) = house.verified().await;
        assert_eq!(
            (code, &*kinds),
            (1, &["missing".to_owned()][..]),
            "{document:#}"
        );
        fs::write(house.trail(), text).unwrap();
        house.assert_whole().await;
    }
}

// Fails when `Exchange::run` does not wait for what `forwarding` gives, or a command goes on without a record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_trail_is_required_nothing_goes_without_it() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::with(&place, &format!("{TRAIL}required = true\n")).await;
        let alice = house.settle_in("alice").await;
        house.until(JSON, &alice, "served", is_served).await;
        let folder = house.proxy.folder.path();
        let (there, away) = (folder.join("trail"), folder.join("trail.away"));
        // No folder where it was, and none can be made there.
        fs::rename(&there, &away).unwrap();
        fs::write(&there, "").unwrap();
        house.backend.reached();
        let mut client = house.proxy.client();
        for server in [JSON, EVENTS, JSON] {
            let since = Instant::now();
            let answer = ask(&mut client, server, &alice, "get_one").await;
            assert_eq!(
                (answer.status, code(&answer)),
                (503, 5034.into()),
                "{}",
                answer.text()
            );
            assert!(since.elapsed() < BOUND, "{:?}", since.elapsed());
            assert!(answer.header("retry-after").is_some());
        }
        // Nor does a session begin for a call without a client of MCP.
        let call = json!({"serverName": JSON, "methodName": "get_one"});
        let mut request = post(JSON, &alice, call.to_string());
        *request.uri_mut() = "/mcp/tool/call".parse().unwrap();
        let answer = client.exchange(request).await.unwrap();
        assert_eq!((answer.status, code(&answer)), (503, 5034.into()));
        let reached = house.backend.reached();
        assert!(reached.is_empty(), "{reached:?}");
        let done = house.run("user add carol", "").await;
        assert_eq!(done.code, 1, "{}", done.out);
        assert!(done.err.contains("[audit]"), "{}", done.err);
        fs::remove_file(&there).unwrap();
        fs::rename(&away, &there).unwrap();
        house.until(JSON, &alice, "it is back", is_served).await;
        let done = house.run("user show carol", "").await;
        assert_eq!(done.code, 1, "nothing was done: {}", done.out);
        // Ends without a start are no requests that were forwarded.
        let served = house.backend.reached().len();
        let since = Instant::now();
        let starts = || {
            house
                .records()
                .iter()
                .filter(|r| r["event"] == "start")
                .count()
        };
        while starts() < served {
            assert!(since.elapsed() < BOUND);
            sleep(Duration::from_millis(20)).await;
        }
        house.assert_whole().await;

        // And none starts without.
        let full = house.proxy.folder.path().join("cloakroom.toml");
        let text = fs::read_to_string(&full).unwrap();
        let text = text.replace(&house.health.line(), "");
        fs::write(&full, text.replace("trail/audit.jsonl", "/dev/full")).unwrap();
        let done = house.run("serve", "").await;
        assert_eq!(done.code, 1, "{}", done.out);
        assert!(
            done.err.contains("/dev/full") && done.err.contains("required = false"),
            "{}",
            done.err
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_killed_leaves_an_open_chain_and_one_that_ended_a_closed_one() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let mut house = House::with(&place, TRAIL).await;
        let alice = house.settle_in("alice").await;
        let mut client = house.proxy.client();
        for _ in 0..20 {
            assert!(is_served(&ask(&mut client, JSON, &alice, "get_one").await));
        }
        house.requests(20).await;
        let pid = u64::from(house.proxy.serving.pid());
        let closed = |document: &Value, pid: u64| {
            let chains = document["chains"].as_array().unwrap();
            let chain = chains.iter().find(|chain| chain["pid"] == pid).unwrap();
            chain["closed"].as_bool().unwrap()
        };
        house.proxy.serving.signal(Signal::KILL);
        house.proxy.serving.gone(BOUND).await;
        assert!(!closed(&house.assert_whole().await, pid), "it was killed");
        let killed = house.text();

        let mut next = house.proxy.replica(None);
        assert!(is_served(
            &ask(&mut next.client(), JSON, &alice, "get_one").await
        ));
        let next_pid = u64::from(next.pid());
        next.stop().await;
        let document = house.assert_whole().await;
        assert!(closed(&document, next_pid) && !closed(&document, pid));
        // What the one that ended wrote last is gone, or all of it.
        let text = house.text();
        let cut = text.trim_end().rsplit_once('\n').unwrap().0;
        for (left, kind) in [(format!("{cut}\n"), "cut_off"), (killed, "not_there")] {
            fs::write(house.trail(), left).unwrap();
            let (code, kinds, document) = house.verified().await;
            assert_eq!((code, &*kinds), (1, &[kind.to_owned()][..]), "{document:#}");
        }
    }
}
