//! JSON bodies, example by example.

use super::*;

fn becomes(input: &str, output: &str) {
    let (out, end) = json(input.as_bytes());
    assert_eq!(String::from_utf8(out).unwrap(), output);
    assert_eq!(end, Ok(()), "{input}");
    let batch = |text: &str| format!("\u{feff} [\n1, {text} ,[{text}] ]\n");
    // In an array in the array nobody looks for a message.
    let expected = format!("\u{feff} [\n1, {output} ,[{input}] ]\n");
    let (out, end) = json(batch(input).as_bytes());
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(end, Ok(()), "{input}");
}

fn stays(input: &str) {
    becomes(input, input);
}

fn fails(input: &[u8], error: AnswerError) {
    assert_eq!(
        json(input).1,
        Err(error),
        "{}",
        String::from_utf8_lossy(input)
    );
}

fn tools(elements: &str) -> String {
    format!("{{\"id\":1, \"result\":{{\"a\":[],\"tools\" : [{elements}],\"nextCursor\":\"c\"}}}}")
}

fn tool_becomes(input: &str, output: &str) {
    becomes(&tools(input), &tools(output));
}

#[test]
fn hidden_arguments_go_from_properties_and_required_and_nothing_else_does() {
    tool_becomes(
        r#" {"name":"t2","inputSchema":{"type":"object","properties":{"key":{"type":"string"},"a" : {"key":1}},"required":["key","a"]}, "x":1 } "#,
        r#" {"name":"t2","inputSchema":{"type":"object","properties":{"a" : {"key":1}},"required":["a"]}, "x":1 } "#,
    );
    // The name after the schema, and a rule for one tool only.
    tool_becomes(
        r#"{"inputSchema":{"required":["a" , "only_t1", "b"],"properties":{"a":0,"only_t1":1}},"name":"t1"}"#,
        r#"{"inputSchema":{"required":["a", "b"],"properties":{"a":0}},"name":"t1"}"#,
    );
    tool_becomes(
        r#"{"inputSchema":{"required":["only_t1"],"properties":{"only_t1":1}},"name":"t2"},{"name":"t1","inputSchema":{"required":["only_t1"],"properties":{"only_t1":1}}}"#,
        r#"{"inputSchema":{"required":["only_t1"],"properties":{"only_t1":1}},"name":"t2"},{"name":"t1","inputSchema":{"required":[],"properties":{}}}"#,
    );
}

#[test]
fn what_is_written_twice_or_in_escapes_goes_too() {
    tool_becomes(
        r#"{"input\u0053chema":{"p\u0072operties":{"\u006bey":1,"k\u0065y":2,"K\u0065y":3},"required":["ke\u0079","b","key"],"required":["\u006b\u0065\u0079"]},"inputSchema":{"properties":{"key":{}},"properties":{"key":{}}},"n\u0061me":"\u0074"}"#,
        r#"{"input\u0053chema":{"p\u0072operties":{"K\u0065y":3},"required":["b"],"required":[]},"inputSchema":{"properties":{},"properties":{}},"n\u0061me":"\u0074"}"#,
    );
    // Of two names the client may take either; without one, the rules decide by "".
    tool_becomes(
        r#"{"name":"t1","name":"t2","inputSchema":{"required":["only_t1"]}},{"name":"t2","name":"t1","inputSchema":{"required":["only_t1"]}},{"name":7,"inputSchema":{"required":["\u00e9","é","only_t1"]}}"#,
        r#"{"name":"t1","name":"t2","inputSchema":{"required":[]}},{"name":"t2","name":"t1","inputSchema":{"required":[]}},{"name":7,"inputSchema":{"required":["only_t1"]}}"#,
    );
    becomes(
        r#"{"result":{"tools":[],"t\u006fols":[{"inputSchema":{"required":["key"]}}]},"r\u0065sult":{"tools":[{"inputSchema":{"required":["key"]}}]}}"#,
        r#"{"result":{"tools":[],"t\u006fols":[{"inputSchema":{"required":[]}}]},"r\u0065sult":{"tools":[{"inputSchema":{"required":[]}}]}}"#,
    );
}

#[test]
fn look_alikes_and_odd_shapes_stay() {
    const TOOL: &str = r#"{"name":"t1","taskId":"7","list":1,"inputSchema":{"properties":{"key":1},"required":["key"]}}"#;
    for place in [
        r#"{"params":{"tools":[$],"result":{"tools":[$]}},"tools":[$]}"#,
        r#"{"result":{"content":[{"tools":[$],"text":"{\"tools\":[\"key\"]}"}],"structuredContent":{"result":{"tools":[$]}}}}"#,
        r#"{"result":[{"tools":[$]}],"error":{"result":{"tools":[$],"taskId":"7"}}}"#,
        r#"{"result":{"tools":{"0":$}}}"#,
        r#"{"result":{"tools":[[$],{"x":$},7,"key",null]}}"#,
        r#"{"resul":{"tools":[$]},"results":{"tools":[$]},"Result":{"tools":[$]},"result ":{"tools":[$]}}"#,
        r#"{"result":{"tool":[$],"toolss":[$],"\u0000tools":[$],"task":[$],"tasks":$,"capabilities":{"x":{"tasks":$},"tasks":[$]}}}"#,
        r#"{"result":{"x":{"taskId":"7"},"taskId":7,"_meta":{"x":$,"taskId":"7","io.modelcontextprotocol/related-task":"7"}}}"#,
        r#"{"params":{"task":$,"tasks":[$],"capabilities":{"tasks":$},"_meta":[$],"notifications":{"taskId":"7","x":["7"],"taskIds":"7"}}}"#,
        r#"{"result":{"notifications":{"taskIds":["7"]},"taskIds":["7"]},"taskId":"7","_meta":{"io.modelcontextprotocol/related-task":$}}"#,
        r#"{"method":{"method":"tasks/get"},"id":NaN,"result":{"x":[-Infinity,+1,.5,0x1f,undefined,True]}}"#,
        r#"{"result":{"tools":[{"inputSchema":[$]},{"inputSchema":{"properties":["key"],"required":{"key":1}}},{"inputSchema":"key"},{"outputSchema":{"properties":{"key":1}}}]}}"#,
    ] {
        stays(&place.replace('$', TOOL));
    }
    stays(r#"{"":{"":[{},[],"",{"":""}]}}"#);
    stays("{ }");
    stays("[ ]");
}

#[test]
fn task_ids_are_sealed_wherever_they_stand() {
    for (input, output) in [
        (
            r#"{"result":{"taskId":"7"}}"#,
            r#"{"result":{"taskId":"<7>"}}"#,
        ),
        (
            r#"{"result":{"task": {"status":"x","taskId" : "7" },"tasks":[{"taskId":"a"},{"taskId":"b","x":{"taskId":"c"}}]}}"#,
            r#"{"result":{"task": {"status":"x","taskId" : "<7>" },"tasks":[{"taskId":"<a>"},{"taskId":"<b>","x":{"taskId":"c"}}]}}"#,
        ),
        (
            r#"{"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"7"}}},"params":{"_meta":{"io.modelcontextprotocol\/related\u002dtask":{"t\u0061skId":"8"}}}}"#,
            r#"{"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"<7>"}}},"params":{"_meta":{"io.modelcontextprotocol\/related\u002dtask":{"t\u0061skId":"<8>"}}}}"#,
        ),
        (
            r#"{"method":"notifications/subscriptions/acknowledged","params":{"notifications":{"taskIds":["a", "b"],"tasksStatus":["c",7,["d"]]}}}"#,
            r#"{"method":"notifications/subscriptions/acknowledged","params":{"notifications":{"taskIds":["<a>", "<b>"],"tasksStatus":["<c>",7,["d"]]}}}"#,
        ),
        (
            r#"{"result":{"taskId":"\u0061\"\\\ud83d\ude00\n","taskId":"é"}}"#,
            "{\"result\":{\"taskId\":\"<a\\\"\\\\😀\\u000a>\",\"taskId\":\"<é>\"}}",
        ),
        (
            r#"{"result":{"taskId":""}}"#,
            r#"{"result":{"taskId":"<>"}}"#,
        ),
    ] {
        becomes(input, output);
    }
}

#[test]
fn the_ids_of_the_clients_own_tasks_stay() {
    for method in [
        "tasks/get",
        "tasks/result",
        "tasks/cancel",
        "tasks/update",
        r"t\u0061sks\/get",
    ] {
        becomes(
            &format!(
                r#"{{"id":1,"method":"{method}","params":{{"taskId":"7","_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"7"}}}}}}}}"#
            ),
            &format!(
                r#"{{"id":1,"method":"{method}","params":{{"taskId":"7","_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"<7>"}}}}}}}}"#
            ),
        );
        // Not known in time: sealed.
        becomes(
            &format!(r#"{{"params":{{"taskId":"7"}},"method":"{method}"}}"#),
            &format!(r#"{{"params":{{"taskId":"<7>"}},"method":"{method}"}}"#),
        );
        // Another message's method says nothing of this one.
        becomes(
            &format!(
                r#"{{"x":{{"method":"{method}"}},"params":{{"method":"{method}","taskId":"7"}}}}"#
            ),
            &format!(
                r#"{{"x":{{"method":"{method}"}},"params":{{"method":"{method}","taskId":"<7>"}}}}"#
            ),
        );
        let (out, _) =
            json(format!(r#"[{{"method":"{method}"}},{{"params":{{"taskId":"7"}}}}]"#).as_bytes());
        assert!(
            String::from_utf8(out)
                .unwrap()
                .ends_with(r#"{"taskId":"<7>"}}]"#)
        );
    }
    let long = "x".repeat(1000);
    for method in [
        "notifications/tasks/status",
        "notifications/tasks",
        "tasks/gett",
        "tasks/lis",
        "",
        &long,
    ] {
        becomes(
            &format!(r#"{{"method":"tasks/get","method":"{method}","params":{{"taskId":"7"}}}}"#),
            &format!(r#"{{"method":"tasks/get","method":"{method}","params":{{"taskId":"<7>"}}}}"#),
        );
    }
}

#[test]
fn nobody_may_list_tasks() {
    for (input, output) in [
        (r#"{"list":{},"cancel":{}}"#, r#"{"cancel":{}}"#),
        (
            r#"{ "cancel":{"list":1} , "l\u0069st":{"x":[]} }"#,
            r#"{ "cancel":{"list":1} }"#,
        ),
        (
            r#"{"list":1,"requests":{"tools":{"call":{}}},"list":2}"#,
            r#"{"requests":{"tools":{"call":{}}}}"#,
        ),
        (r#"{"list":{}}"#, "{}"),
        ("{}", "{}"),
        ("true", "true"),
    ] {
        let around = |tasks: &str| {
            format!(
                r#"{{"result":{{"capabilities":{{"tools":{{"list":1}},"tasks":{tasks},"list":{{}}}},"list":1}},"params":{{"capabilities":{{"tasks":{{"list":1}}}}}}}}"#
            )
        };
        becomes(&around(input), &around(output));
    }
}

#[test]
fn what_is_no_json_passes_and_what_cannot_be_followed_does_not() {
    for plain in [
        &b""[..],
        b"  \r\n",
        b"\xef\xbb\xbf",
        b"\xef\xbb",
        b"\xef{",
        b"\"result\"",
        b"Not Found {\"a\"]",
        b"<html>",
        b"\xff{",
        b"7",
        b"\xef\xbb\xbf\xef\xbbx{]",
    ] {
        assert_eq!(json(plain), (plain.to_vec(), Ok(())), "{plain:?}");
    }
    for bad in [
        "{]",
        "[}",
        "{\"a\":[}}",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[,1]",
        "[1,]",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "{}x",
        "{}{}",
        "[]]",
        "{}\"\"",
        "{/**/}",
        "[1/*\"*/]",
        "{\"a\":1:2}",
        "{:1}",
        "{\"a\":1,,}",
        "[\u{e9}]",
        "[\0]",
        "{\u{feff}}",
    ] {
        fails(bad.as_bytes(), AnswerError::NotJson);
        fails(
            format!("\u{feff}\u{feff} {bad}").as_bytes(),
            AnswerError::NotJson,
        );
    }
    for cut in [
        "{",
        "[",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "[1,",
        "[\"a\\",
        "{\"result\":{\"taskId\":\"7",
        "{\"result\":{\"tools\":[{}",
    ] {
        fails(cut.as_bytes(), AnswerError::CutMessage);
    }
    // A value that has to change must be readable.
    for value in [&b"\\ud800"[..], b"\xff", b"a\nb", b"\\x", b"\\u12"] {
        let around =
            |before: &str, after: &str| [before.as_bytes(), value, after.as_bytes()].concat();
        fails(
            &around("{\"result\":{\"taskId\":\"", "\"}}"),
            AnswerError::NotJson,
        );
        fails(
            &around("{\"result\":{\"tools\":[{\"", "\":1,\"inputSchema\":{}}]}}"),
            AnswerError::NotJson,
        );
        fails(
            &around("{\"result\":{\"capabilities\":{\"tasks\":{\"", "\":1}}}}"),
            AnswerError::NotJson,
        );
        let elsewhere = around("{\"result\":{\"content\":{\"", "\":1}}}");
        assert_eq!(json(&elsewhere), (elsewhere.clone(), Ok(())));
    }
}

#[test]
fn what_passes_is_not_copied() {
    let chunk = Bytes::from(tools(
        r#"{"name":"x","inputSchema":{}},{"name":"y","inputSchema":{"required":["a","key"]},"z":1}"#,
    ));
    let mut out = Vec::new();
    JsonAnswer::new(ALL, NO_LIMIT)
        .push(chunk.clone(), &mut out)
        .unwrap();
    assert_eq!(out.len(), 3);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
    assert_eq!(
        &out[1][..],
        br#"{"name":"y","inputSchema":{"required":["a"]},"z":1}"#
    );
    assert_eq!(
        out[2].as_ptr(),
        chunk[chunk.len() - out[2].len()..].as_ptr()
    );
}

#[test]
fn only_a_value_that_may_change_is_held_back() {
    let mut answer = JsonAnswer::new(ALL, NO_LIMIT);
    let mut out = Vec::new();
    for (chunk, passed) in [
        ("{\"res", "{\"res"),
        ("ult\":{\"to", "ult\":{\"to"),
        ("ols\":[7, {\"na", "ols\":[7"),
        ("me\":\"x\"", ""),
        ("} , ", ", {\"name\":\"x\"} "),
        ("{", ""),
        ("}], \"taskId\":\"a", ", {}], \"taskId\":"),
        ("b", ""),
        ("\",\"x\":\"", "\"<ab>\",\"x\":\""),
        ("long \\", "long \\"),
        ("\" text", "\" text"),
        ("\"}}", "\"}}"),
    ] {
        out.clear();
        answer
            .push(Bytes::from_static(chunk.as_bytes()), &mut out)
            .unwrap();
        assert_eq!(String::from_utf8(out.concat()).unwrap(), passed, "{chunk}");
    }
    assert_eq!(answer.finish(), Ok(()));
}

#[test]
fn if_nothing_is_hidden_tools_pass_as_they_come() {
    let rules = Marks {
        hides: false,
        ..ALL
    };
    let text = tools(
        r#"{"name":"t","inputSchema":{"required":["key"],"properties":{"key":1}}},{"\ud800":1}"#,
    );
    let outcome = however_cut(text.as_bytes(), |chunks| run_json(rules, 0, chunks));
    assert_eq!(outcome, (text.clone().into_bytes(), Ok(())));
    let mut out = Vec::new();
    let mut answer = JsonAnswer::new(rules, 0);
    answer
        .push(Bytes::copy_from_slice(&text.as_bytes()[..50]), &mut out)
        .unwrap();
    assert_eq!(out.concat(), &text.as_bytes()[..50], "nothing is held");
}

// Mutation: in `rewrite::cache_scope`, pass what the backend says.
#[test]
fn what_one_user_is_answered_is_for_no_shared_cache() {
    let list = |scope: &str| {
        format!(r#"{{"id":1,"result":{{"tools":[],"cacheScope" : {scope},"ttlMs":1000}}}}"#)
    };
    for scope in [
        r#""public""#,
        r#""p\u0075blic""#,
        r#""""#,
        r#""else""#,
        r#""private""#,
    ] {
        becomes(&list(scope), &list(r#""private""#));
    }
    becomes(
        r#"{"id":1,"result":{"cache\u0053cope":"public"}}"#,
        r#"{"id":1,"result":{"cache\u0053cope":"private"}}"#,
    );
    // Elsewhere it is anybody's word.
    stays(r#"{"id":1,"result":{"structuredContent":{"cacheScope":"public"}}}"#);
    stays(r#"{"id":1,"params":{"cacheScope":"public"},"method":"x"}"#);
    let long = format!("\"{}\"", "a".repeat(1000));
    fails(list(&long).as_bytes(), AnswerError::NotJson);
}

// Fails when a quote or a backslash is overlooked somewhere in a word, or another byte taken for one.
#[test]
fn a_string_ends_with_its_quote_wherever_that_is() {
    for length in 0..20 {
        let filling = "x".repeat(length);
        for odd in ["", "\\\"", "\\\\", "\t", "\u{1}", "#", "]", "é"] {
            let text = format!("\"{filling}{odd}{filling}\"");
            let input = format!(r#"{{{text}:{text},"result":{{"taskId":"t"}}}}"#);
            let output = input.replace("\"t\"", "\"<t>\"");
            assert_eq!(json(input.as_bytes()), (output.into_bytes(), Ok(())));
        }
    }
}

// Fails when an empty piece ends what the piece before it left open.
#[test]
fn an_empty_piece_changes_nothing() {
    let input = br#"{"a\"":[12,"\\"],"result":{"task\u0049d":"t\"\\"}}"#;
    let whole = run_json(ALL, NO_LIMIT, [&input[..]]);
    assert_eq!(whole.1, Ok(()));
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        let cut = run_json(ALL, NO_LIMIT, [head, b"", b"", tail]);
        assert_eq!(cut, whole, "cut at {at}");
    }
}
