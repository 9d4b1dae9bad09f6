//! Exactly so much and no more; and a long list, cut everywhere.

use memchr::memmem;

use super::*;

const LIST_MAX: usize = 8 << 20;
const CHUNK: usize = 16 << 10;

const HEAD: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":"#;
const SCHEMA: &str = r#","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"key":{"type":"string"},"b":{}},"required":["a", "key"]}}"#;

/// A list of `size` bytes, brackets included, of tools whose length is one more than a chunk's, so
/// that chunk by chunk the cut moves one byte through the tool.
fn list_of(size: usize) -> (String, usize) {
    let mut list = String::with_capacity(size);
    let mut tools = 0;
    list.push('[');
    loop {
        let start = r#"{"name":"t2","description":""#;
        let filled = CHUNK - start.len() - 1 - SCHEMA.len();
        if list.len() + CHUNK + 2 > size {
            break;
        }
        list.push_str(start);
        list.extend(std::iter::repeat_n('x', filled));
        list.push('"');
        list.push_str(SCHEMA);
        list.push(',');
        tools += 1;
    }
    list.push('"');
    list.extend(std::iter::repeat_n('y', size - list.len() - 2));
    list.push_str("\"]");
    assert_eq!(list.len(), size);
    (list, tools)
}

/// Chunks as a socket gives them, the first `first` bytes long.
fn chunks(input: &Bytes, first: usize) -> impl Iterator<Item = Bytes> + '_ {
    let rest = (first..input.len()).step_by(CHUNK);
    let rest = rest.map(|at| input.slice(at..input.len().min(at + CHUNK)));
    std::iter::once(input.slice(..first)).chain(rest)
}

#[test]
fn a_list_of_the_limits_size_never_shows_a_hidden_argument_wherever_it_is_cut() {
    let (list, tools) = list_of(LIST_MAX);
    let input = Bytes::from(format!("{HEAD}{list}}}}}"));
    let gone = tools * (r#""key":{"type":"string"},"#.len() + r#", "key""#.len());
    let finder = memmem::Finder::new("key");
    // With 511 tools the cut goes over 511 neighbouring offsets in one run.
    assert_eq!(tools, 511);
    for first in (1..=CHUNK).step_by(tools) {
        let mut answer = JsonAnswer::new(MODERN, LIST_MAX);
        let mut out = Vec::new();
        for chunk in chunks(&input, first) {
            answer.push(chunk, &mut out).unwrap();
        }
        answer.finish().unwrap();
        let out = out.concat();
        assert_eq!(out.len(), input.len() - gone);
        assert_eq!(finder.find(&out), None, "first chunk of {first} bytes");
    }
}

#[test]
fn a_list_may_have_as_many_bytes_as_the_limit_says() {
    for (size, end) in [
        (LIST_MAX, Ok(())),
        (LIST_MAX + 1, Err(AnswerError::ListTooLarge)),
    ] {
        let (list, _) = list_of(size);
        let body = Bytes::from(format!("{HEAD}{list}}}}}"));
        let stream = Bytes::from(format!("data:{HEAD}{list}}}}}\n\n"));
        for first in [1, CHUNK] {
            let mut json = JsonAnswer::new(MODERN, LIST_MAX);
            assert_eq!(
                chunks(&body, first).try_for_each(|c| json.push(c, &mut Vec::new())),
                end
            );
            let mut events = EventAnswer::new(MODERN, LIST_MAX);
            assert_eq!(
                chunks(&stream, first).try_for_each(|c| events.push(c, &mut Vec::new())),
                end
            );
        }
    }
}

#[test]
fn a_small_list_is_counted_the_same_wherever_it_is_cut() {
    let list = r#"[ {"name":"t"} , 7,{"inputSchema":{"required":["key"]}}]"#;
    let body = format!(
        "[{{\"result\":{{\"tools\":{list},\"tools\":{list}}}}},{{\"result\":{{\"tools\":{list}}}}}]"
    );
    let run = |max| however_cut(body.as_bytes(), |chunks| run_json(ALL, max, chunks)).1;
    assert_eq!(run(list.len()), Ok(()));
    assert_eq!(run(list.len() - 1), Err(AnswerError::ListTooLarge));
    let stream = format!(
        "data: {{\"result\":{{\"tools\":{}}}}}\n\n",
        list.replace(' ', "\n: c\ndata: ")
    );
    let run = |max| however_cut(stream.as_bytes(), |chunks| run_events(ALL, max, chunks)).1;
    assert_eq!(run(list.len()), Ok(()));
    assert_eq!(run(list.len() - 1), Err(AnswerError::ListTooLarge));
}

fn ends(body: &str, end: Result<(), AnswerError>) {
    for size in [1, 1000, usize::MAX] {
        let size = size.min(body.len());
        let (_, is) = run_json(ALL, NO_LIMIT, body.as_bytes().chunks(size));
        assert_eq!(is, end, "in pieces of {size}");
    }
}

#[test]
fn a_task_id_may_have_1024_bytes() {
    for character in ["7", "é", r"\u0037", r"\\", r"\ud83d\ude00"] {
        let bytes = match character {
            "é" => 2,
            r"\ud83d\ude00" => 4,
            _ => 1,
        };
        let body = |more: &str| {
            let id = character.repeat(MAX_TASK_ID / bytes);
            format!("{{\"result\":{{\"taskId\":\"{id}{more}\"}}}}")
        };
        ends(&body(""), Ok(()));
        ends(&body("7"), Err(AnswerError::TaskIdTooLong));
        ends(&body(&"7".repeat(10_000)), Err(AnswerError::TaskIdTooLong));
    }
    let endless = format!("{{\"result\":{{\"taskId\":\"{}", "7".repeat(10_000));
    ends(&endless, Err(AnswerError::TaskIdTooLong));
}

#[test]
fn the_tasks_capability_may_have_64_kib() {
    let body = |size: usize| {
        let tasks = format!("{{\"list\":{{}},\"x\":\"{}\"}}", "x".repeat(size - 18));
        assert_eq!(tasks.len(), size);
        format!("{{\"result\":{{\"capabilities\":{{\"tasks\":{tasks}}}}}}}")
    };
    ends(&body(MAX_TASKS_CAPABILITY), Ok(()));
    ends(
        &body(MAX_TASKS_CAPABILITY + 1),
        Err(AnswerError::TasksTooLarge),
    );
}

#[test]
fn a_message_may_be_512_levels_deep() {
    assert_eq!(MAX_DEPTH, 512);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let body = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        ends(&body(MAX_DEPTH), Ok(()));
        ends(&body(MAX_DEPTH + 1), Err(AnswerError::TooDeep));
    }
}

#[test]
fn a_long_key_is_read_to_its_end() {
    let key = "result".repeat(1000);
    let body =
        format!("{{\"{key}\":{{\"taskId\":\"7\"}},\"result\":{{\"{key}\":1,\"taskId\":7}}}}");
    let (out, end) = run_json(ALL, NO_LIMIT, body.as_bytes().chunks(7));
    assert_eq!((out, end), (body.into_bytes(), Ok(())));
    let escaped: String = RELATED
        .chars()
        .map(|c| format!("\\u{:04X}", c as u32))
        .collect();
    let body = |id: &str| {
        format!("{{\"params\":{{\"_meta\":{{\"{escaped}\":{{\"taskId\":\"{id}\"}}}}}}}}")
    };
    let (out, end) = json(body("7").as_bytes());
    assert_eq!((out, end), (body("<7>").into_bytes(), Ok(())));
}

const RELATED: &str = "io.modelcontextprotocol/related-task";
