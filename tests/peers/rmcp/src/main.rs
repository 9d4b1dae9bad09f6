//! The Rust SDK as a client: what it is told through the proxy is what the server says. Reads PEERS and
//! tells a line for each check, as the scripts in `clients/` do.

// Sampling and roots are deprecated since 2026-07-28, but servers still ask for them.
#![expect(deprecated)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, CreateMessageRequestParams,
    CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction, ErrorData,
    GetPromptRequestParams, Implementation, ListRootsResult, ProgressNotificationParam,
    ProtocolVersion, ReadResourceRequestParams, Root, SamplingMessage,
};
use rmcp::service::{
    NotificationContext, RequestContext, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ServiceExt};
use serde_json::{Map, Value, json};

type Fault = Box<dyn Error + Send + Sync>;

/// How many steps `walk` takes, and where the session's own stream needs time to open.
const STEPS: usize = 16;
const STREAM_OPENS: Duration = Duration::from_millis(800);

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Serve,
    Discover,
    Auto,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Serve => "serve()",
            Mode::Discover => "serve_with_lifecycle(Discover)",
            Mode::Auto => "serve_with_lifecycle(Auto)",
        }
    }

    fn revision(self) -> &'static str {
        match self {
            Mode::Serve => "2025-11-25",
            Mode::Discover | Mode::Auto => "2026-07-28",
        }
    }
}

/// Answers the server's questions and counts its reports.
#[derive(Clone, Default)]
struct Person {
    reports: Arc<AtomicUsize>,
}

impl ClientHandler for Person {
    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let asked = serde_json::to_value(&params.messages[0].content).unwrap_or_default();
        let text = asked["text"].as_str().unwrap_or("nothing");
        let spoken = SamplingMessage::assistant_text(text.chars().rev().collect::<String>());
        Ok(CreateMessageResult::new(spoken, "test".into()))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new("file:///home/alice")]))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        let content = json!({"username": message, "email": "a@example.com"});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.reports.fetch_add(1, Ordering::SeqCst);
    }

    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(Default::default());
        capabilities.roots = Some(Default::default());
        capabilities.sampling = Some(Default::default());
        ClientConfig::new(capabilities, Implementation::new("peer", "1"))
    }
}

/// One side of a comparison: where to call, and with which bearer.
#[derive(Clone)]
struct Side {
    url: String,
    bearer: String,
}

async fn connect(
    side: &Side,
    mode: Mode,
) -> Result<(RunningService<RoleClient, Person>, Person), Fault> {
    let config = StreamableHttpClientTransportConfig::with_uri(side.url.as_str())
        .auth_header(side.bearer.as_str());
    let transport = StreamableHttpClientTransport::from_config(config);
    let person = Person::default();
    let newest = vec![ProtocolVersion::V_2026_07_28];
    let running = match mode {
        Mode::Serve => person.clone().serve(transport).await?,
        Mode::Discover => {
            let how = ClientLifecycleMode::Discover {
                preferred_versions: newest,
            };
            person.clone().serve_with_lifecycle(transport, how).await?
        }
        Mode::Auto => {
            let how = ClientLifecycleMode::Auto {
                preferred_versions: newest,
                legacy_version: None,
            };
            person.clone().serve_with_lifecycle(transport, how).await?
        }
    };
    Ok((running, person))
}

/// What came of a request, as JSON: its result, or the server's refusal.
fn told<T: serde::Serialize>(came: Result<T, ServiceError>) -> Result<Value, Fault> {
    match came {
        Ok(result) => Ok(serde_json::to_value(result)?),
        Err(ServiceError::McpError(refused)) => Ok(json!({
            "code": refused.code.0, "message": refused.message, "data": refused.data,
        })),
        Err(other) => Err(other.into()),
    }
}

fn arguments(of: Value) -> Map<String, Value> {
    of.as_object().cloned().unwrap_or_default()
}

/// The steps, and what came of each.
async fn walk(side: Side, mode: Mode) -> Result<Vec<(&'static str, Value)>, Fault> {
    let (client, person) = connect(&side, mode).await?;
    let server = client.peer_info().ok_or("no server info")?;
    let call = |name: &'static str, with: Value| {
        client.call_tool(CallToolRequestParams::new(name).with_arguments(arguments(with)))
    };
    let read = |uri: &'static str| client.read_resource(ReadResourceRequestParams::new(uri));
    let prompt = GetPromptRequestParams::new("test_prompt_with_arguments")
        .with_arguments(arguments(json!({"arg1": "a", "arg2": "ü"})));
    let completed = client
        .complete_prompt_argument("test_prompt_with_arguments", "arg1", "par", None)
        .await;
    let mut steps = vec![
        ("server", serde_json::to_value(&*server)?),
        ("tools", told(client.list_all_tools().await)?),
        ("resources", told(client.list_all_resources().await)?),
        (
            "templates",
            told(client.list_all_resource_templates().await)?,
        ),
        ("prompts", told(client.list_all_prompts().await)?),
        ("a text", told(read("test://static-text").await)?),
        ("no such resource", told(read("test://nowhere").await)?),
        ("a prompt", told(client.get_prompt(prompt).await)?),
        ("a completion", told(completed)?),
        ("whoami", told(call("whoami", json!({})).await)?),
        (
            "a failing tool",
            told(call("test_error_handling", json!({})).await)?,
        ),
        ("no such tool", told(call("nonesuch", json!({})).await)?),
        (
            "count",
            told(call("count", json!({"steps": 3, "pause_ms": 50})).await)?,
        ),
        (
            "elicitation",
            told(call("test_elicitation", json!({"message": "who"})).await)?,
        ),
        (
            "sampling",
            told(call("test_sampling", json!({"prompt": "stressed"})).await)?,
        ),
    ];
    let reports = person.reports.load(Ordering::SeqCst);
    if reports != 3 {
        return Err(format!("{reports} reports of progress, not 3").into());
    }
    if mode == Mode::Serve {
        tokio::time::sleep(STREAM_OPENS).await;
    }
    steps.push(("roots", told(call("ask_for_roots", json!({})).await)?));
    client.cancel().await?;
    Ok(steps)
}

/// The same on both sides, and what must be in it, so that two equal failures are no success.
async fn as_directly(
    direct: Side,
    proxied: Side,
    mode: Mode,
    fingerprint: &str,
) -> Result<(), Fault> {
    let (wanted, got) = tokio::try_join!(walk(direct, mode), walk(proxied, mode))?;
    for ((step, want), (_, have)) in wanted.iter().zip(&got) {
        if want != have {
            return Err(format!("{step} through the proxy: {have}, wanted {want}").into());
        }
    }
    if wanted.len() != STEPS || got.len() != STEPS {
        return Err(format!("{} and {} steps, not {STEPS}", wanted.len(), got.len()).into());
    }
    let step = |name: &str| {
        got.iter()
            .find(|(step, _)| *step == name)
            .map_or(&Value::Null, |found| &found.1)
    };
    let text = |name: &str| {
        step(name)["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
    };
    for (name, have, want) in [
        (
            "revision",
            step("server")["protocolVersion"]
                .as_str()
                .unwrap_or_default(),
            mode.revision(),
        ),
        ("whoami", text("whoami"), fingerprint),
        ("count", text("count"), "counted to 3"),
        ("sampling", text("sampling"), "LLM response: desserts"),
        ("roots", text("roots"), "roots: file:///home/alice"),
    ] {
        if have != want {
            return Err(format!("{name}: {have:?}, wanted {want:?}; {}", step(name)).into());
        }
    }
    if step("tools")
        .as_array()
        .is_none_or(|tools| tools.len() < 30)
        || !text("elicitation").contains("action=accept")
    {
        return Err("tools or elicitation are not what the fixture has".into());
    }
    Ok(())
}

async fn refused(side: Side, mode: Mode) -> Result<(), Fault> {
    match connect(&side, mode).await {
        Ok(_) => Err("the client was let in".into()),
        Err(error) => {
            let mut text = format!("{error:?}");
            let mut cause: Option<&dyn Error> = error.source();
            while let Some(inner) = cause {
                text += &format!(" {inner:?}");
                cause = inner.source();
            }
            match ["401", "AuthRequired", "revoked"]
                .iter()
                .any(|word| text.contains(word))
            {
                true => Ok(()),
                false => Err(text.into()),
            }
        }
    }
}

async fn check(name: String, work: impl Future<Output = Result<(), Fault>>) {
    match tokio::time::timeout(Duration::from_secs(20), work).await {
        Ok(Ok(())) => println!("ok {name}"),
        Ok(Err(why)) => println!("not ok {name}: {}", why.to_string().replace('\n', " ")),
        Err(_) => println!("not ok {name}: not done after 20 s"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let peers: Value = serde_json::from_str(&std::env::var("PEERS")?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let side = |which: &str, bearer: &Value| Side {
        url: text(&peers["http"][which]),
        bearer: text(bearer),
    };
    for mode in [Mode::Serve, Mode::Discover, Mode::Auto] {
        for name in ["alice", "bob"] {
            let user = &peers[name];
            let (direct, proxied) = (
                side("direct", &user["token"]),
                side("proxied", &user["key"]),
            );
            let fingerprint = text(&user["fingerprint"]);
            let work = as_directly(direct, proxied, mode, &fingerprint);
            check(format!("{}, {name}: told as directly", mode.name()), work).await;
        }
        let stranger = side("proxied", &peers["wrong_key"]);
        check(
            format!("{}: a key of nobody is refused", mode.name()),
            refused(stranger, mode),
        )
        .await;
    }
    Ok(())
}
