//! People: what users and groups may do, whose secrets they get, what they are held to, and what is kept of
//! it; through real processes, on either store.

mod access;
mod audit;
mod backend;
mod ends;
mod groups;
mod limits;
mod many;
mod static_keys;
mod usage;

use std::time::{Duration, Instant};

use cloakroom::names::{GroupName, Pattern};
use cloakroom::vault::{Access, AccessChange, GroupChange, UserChange};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::backend::Backend;
use crate::cli::{Done, run_in};
use crate::support::client::{Answer, Client, post};
use crate::support::health::Health;
use crate::support::proxy::{Lines, Place, Proxy, Serving, user};

/// From a change being written to its being in force everywhere; more than the second that is promised, for
/// these tests run beside others.
const BOUND: Duration = Duration::from_secs(3);
/// Servers, by how each answers: in JSON, by an event stream, and over HTTP+SSE.
const JSON: &str = "json";
const EVENTS: &str = "events";
const OLD: &str = "old";
const ALL: [&str; 3] = [JSON, EVENTS, OLD];

/// An installation in front of one backend that speaks all ways.
struct House {
    proxy: Proxy,
    backend: Backend,
    health: Health,
}

impl House {
    async fn start(place: &Place<'_>) -> Self {
        Self::with(place, "").await
    }

    /// With these lines at the head of the configuration.
    async fn with(place: &Place<'_>, root: &str) -> Self {
        let backend = Backend::start().await;
        let health = Health::somewhere();
        let table = |name: &str, line: String| {
            format!(
                "[servers.{name}]\n{line}\nheaders.Authorization = \"Bearer ${{TOKEN}}\"\n\
                 headers.X-Team = \"${{TEAM}}\"\n"
            )
        };
        let tables = [
            table(JSON, format!("url = \"{}/mcp\"", backend.origin)),
            table(EVENTS, format!("url = \"{}/events\"", backend.origin)),
            table(OLD, format!("sse_url = \"{}/sse\"", backend.origin)),
        ];
        let root = format!("{}{root}", health.line());
        let lines = Lines {
            root: &root,
            ..Lines::default()
        };
        let proxy = Proxy::configured(place, &lines, &tables.concat()).await;
        Self {
            proxy,
            backend,
            health,
        }
    }

    /// A further replica.
    fn another(&self) -> Serving {
        let health = Health::somewhere().0.to_string();
        let variables = [("CLOAKROOM_HEALTH_LISTEN", &*health)];
        self.proxy.replica_with(&variables)
    }

    /// A user with secrets of his own for all servers, and his key.
    async fn settle_in(&self, name: &str) -> String {
        let key = self.proxy.settle_in(name, &ALL).await;
        for server in ALL {
            let team = format!("{name}-team");
            let at = (server, "default");
            self.proxy.set_named(name, at, "TEAM", &team).await;
        }
        key
    }

    /// Changes what a user may use.
    async fn access(&self, name: &str, access: AccessChange) {
        let change = UserChange {
            access: Some(access),
            ..UserChange::default()
        };
        let vault = &self.proxy.vault;
        vault.update_user(&user(name), &change).await.unwrap();
    }

    /// Makes a group with a list of access.
    async fn add_group(&self, name: &str, access: AccessChange) {
        let name = group(name);
        self.proxy
            .vault
            .add_group(&name, None, Access::default())
            .await
            .unwrap();
        self.group_access(name.as_str(), access).await;
    }

    async fn group_access(&self, name: &str, access: AccessChange) {
        let change = GroupChange {
            access: Some(access),
            ..GroupChange::default()
        };
        let vault = &self.proxy.vault;
        vault.update_group(&group(name), &change).await.unwrap();
    }

    async fn join(&self, name: &str, who: &str) {
        let (vault, group, user) = (&self.proxy.vault, group(name), user(who));
        vault.add_member(&group, &user).await.unwrap();
    }

    async fn leave(&self, name: &str, who: &str) {
        let (vault, group, user) = (&self.proxy.vault, group(name), user(who));
        vault.remove_member(&group, &user).await.unwrap();
    }

    /// Waits until a request is answered like this: what was written is in force then.
    async fn until(&self, server: &str, key: &str, what: &str, is_so: impl Fn(&Answer) -> bool) {
        let (since, mut client) = (Instant::now(), self.proxy.client());
        loop {
            let answer = ask(&mut client, server, key, "get_one").await;
            if is_so(&answer) {
                return;
            }
            assert!(
                since.elapsed() < BOUND,
                "{what}: still {} {}",
                answer.status,
                answer.text()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs a command of the binary, split at spaces.
    async fn run(&self, line: &str, input: &str) -> Done {
        let (folder, line) = (self.proxy.folder.path().to_owned(), line.to_owned());
        let input = input.to_owned();
        let done =
            spawn_blocking(move || run_in(&folder, line.split_whitespace(), input.as_bytes()));
        done.await.unwrap()
    }

    /// Runs what must be done; all it says.
    async fn ok(&self, line: &str, input: &str) -> String {
        let done = self.run(line, input).await;
        assert_eq!(done.code, 0, "{line}: {}{}", done.out, done.err);
        done.out
    }

    /// The document a command answers with.
    async fn json(&self, line: &str, input: &str) -> Value {
        let text = self.ok(&format!("{line} --json"), input).await;
        serde_json::from_str(&text).unwrap()
    }
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn patterns(texts: &[&str]) -> Option<Vec<Pattern>> {
    let parsed = texts.iter().map(|text| Pattern::parse(text).unwrap());
    Some(parsed.collect())
}

fn blocks_servers(servers: &[&str]) -> AccessChange {
    AccessChange {
        blocked_servers: patterns(servers),
        ..AccessChange::default()
    }
}

fn allows_servers(servers: &[&str]) -> AccessChange {
    AccessChange {
        allowed_servers: patterns(servers),
        ..AccessChange::default()
    }
}

fn blocks_tools(tools: &[&str]) -> AccessChange {
    AccessChange {
        blocked_tools: patterns(tools),
        ..AccessChange::default()
    }
}

/// A call of a tool.
fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

fn list(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})
}

async fn send(client: &mut Client, server: &str, key: &str, body: &Value) -> Answer {
    let sent = client.exchange(post(server, key, body.to_string())).await;
    sent.unwrap()
}

/// Calls a tool.
async fn ask(client: &mut Client, server: &str, key: &str, tool: &str) -> Answer {
    send(client, server, key, &call(7, tool)).await
}

fn is_served(answer: &Answer) -> bool {
    answer.status == 200 && answer.message()["result"].is_object()
}

fn code(answer: &Answer) -> Value {
    answer.message()["error"]["code"].clone()
}

/// The server is not allowed.
fn is_blocked(answer: &Answer) -> bool {
    answer.status == 403 && code(answer) == 4031
}
