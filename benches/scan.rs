//! What the proxy's own reading of an exchange costs: a small call, a large body, a stream.

use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use cloakroom::mcp::answer::{EventAnswer, JsonAnswer, Rules};
use cloakroom::mcp::scan::scan;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn call() -> String {
    r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"octo-org","repo":"hello-world","title":"It does not start","labels":["bug","p2"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":17,"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}}}}}}"#
        .to_owned()
}

/// A call whose one argument fills it up to `size` bytes.
fn with_argument(size: usize, mut fill: impl FnMut(&mut String, usize)) -> String {
    let mut body =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"x":"#
            .to_owned();
    for i in 0.. {
        if body.len() + 64 > size {
            break;
        }
        fill(&mut body, i);
    }
    body
}

fn mebibyte_of_text() -> String {
    let mut body = with_argument(1 << 20, |body, i| {
        body.push_str(if i == 0 {
            "\""
        } else {
            "The quick brown fox jumps over it.\\n"
        });
    });
    body.push_str("\"}}}");
    body
}

fn mebibyte_of_records() -> String {
    let mut body = with_argument(1 << 20, |body, i| {
        body.push(if i == 0 { '[' } else { ',' });
        let _ = write!(body, r#"{{"id":{i},"name":"row","score":-1.5}}"#);
    });
    body.push_str("]}}}");
    body
}

fn keys(count: usize) -> String {
    let mut body = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":{"#.to_owned();
    for i in 0..count {
        let _ = write!(body, r#"{}"{i:x}":0"#, if i == 0 { "" } else { "," });
    }
    body.push_str("}}}");
    body
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for (name, body) in [
        ("call_350_bytes", call()),
        ("text_1_mib", mebibyte_of_text()),
        ("records_1_mib", mebibyte_of_records()),
        ("a_million_keys", keys(1_000_000)),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| scan(black_box(body.as_bytes())).expect("the bodies are messages"));
        });
    }
    group.finish();
}

/// Hides one argument; a seal costs nothing here, for it is measured elsewhere.
#[derive(Clone, Copy)]
struct Hide;

impl Rules for Hide {
    fn hides_any(&self) -> bool {
        true
    }

    fn hides_tool(&self, _tool: &str) -> bool {
        false
    }

    fn hides(&self, _tool: &str, argument: &str) -> bool {
        argument == "api_token"
    }

    fn seal_event(&self, id: &[u8]) -> Vec<u8> {
        [id, b".AAAAAAAAAAAAAAAAAAAAAAAAAAA"].concat()
    }

    fn seal_task(&self, id: &str) -> String {
        format!("{id}.AAAAAAAAAAAAAAAAAAAAAAAAAAA")
    }

    fn legacy(&self) -> bool {
        false
    }

    fn endpoint(&self, _reference: &str) -> Option<String> {
        None
    }
}

fn tool_list() -> String {
    let mut list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":["#.to_owned();
    for i in 0.. {
        if list.len() > 64 << 10 {
            break;
        }
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            list,
            r#"{comma}{{"name":"tool_{i}","description":"Does one thing, and says in a few lines of text which one it is.","inputSchema":{{"type":"object","properties":{{"owner":{{"type":"string"}},"api_token":{{"type":"string"}},"number":{{"type":"integer","minimum":1}}}},"required":["owner","api_token"]}}}}"#
        );
    }
    list.push_str("]}}");
    list
}

fn answers(criterion: &mut Criterion) {
    let small = r#"{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"Issue 1347 was created: it does not start. See https://example.com/octo-org/hello-world/issues/1347 for what is said of it."}],"structuredContent":{"number":1347,"state":"open","labels":["bug","p2"],"assignees":[]},"isError":false}}"#;
    let mut group = criterion.benchmark_group("answer");
    for (name, body) in [
        ("result_300_bytes", small.to_owned()),
        ("text_1_mib", mebibyte_of_text()),
        ("records_1_mib", mebibyte_of_records()),
        ("tools_64_kib", tool_list()),
    ] {
        let body = Bytes::from(body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                let mut answer = JsonAnswer::new(Hide, 8 << 20);
                answer
                    .push(black_box(body.clone()), &mut out)
                    .expect("the bodies can be followed");
                answer.finish().expect("the bodies are whole");
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn streams(criterion: &mut Criterion) {
    let mut text = String::new();
    while text.len() < 64 << 10 {
        let n = text.len();
        let _ = write!(
            text,
            "id: stream_{n}\nevent: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":17,\"progress\":{n},\"message\":\"one more step of the way\"}}}}\n\n"
        );
    }
    let stream = Bytes::from(text);
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for (name, chunk) in [
        ("64_kib_whole", stream.len()),
        ("64_kib_in_chunks_of_1_kib", 1024),
    ] {
        group.bench_function(name, |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                let mut sealer = EventAnswer::new(Hide, 8 << 20);
                for start in (0..stream.len()).step_by(chunk) {
                    out.clear();
                    let end = stream.len().min(start + chunk);
                    sealer
                        .push(stream.slice(start..end), &mut out)
                        .expect("the ids are short");
                    black_box(&out);
                }
                sealer.finish().expect("the stream is whole");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bodies, answers, streams);
criterion_main!(benches);
