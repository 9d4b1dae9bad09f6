//! Generated documents against another way to say the same: a parsed value, edited by hand.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Stands for white space that may be a line end.
const GAP: char = '\u{1}';

/// Makes a document of a list of choices; when they run out, of zeros, which end it.
struct Writer<'a> {
    choices: &'a [u8],
    out: String,
}

impl Writer<'_> {
    fn choose(&mut self, of: usize) -> usize {
        let Some((&first, rest)) = self.choices.split_first() else {
            return 0;
        };
        self.choices = rest;
        usize::from(first) % of
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.choose(of.len())]
    }

    fn gap(&mut self) {
        let gap = self.pick(&["", "", "", " ", "\u{1}", "\t \u{1}"]);
        self.out.push_str(gap);
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            let escape = matches!(character, '"' | '\\' | '\0'..='\x1f') || self.choose(9) == 8;
            if escape {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let upper = self.choose(2) == 1;
                    let escaped = if upper {
                        format!("\\u{unit:04X}")
                    } else {
                        format!("\\u{unit:04x}")
                    };
                    self.out.push_str(&escaped);
                }
            } else {
                self.out.push(character);
            }
        }
        self.out.push('"');
    }

    fn leaf(&mut self) {
        const TEXTS: [&str; 16] = [
            "",
            "key",
            "only_t1",
            "t1",
            "t2",
            "é",
            "😀 \\",
            "\"}],[{",
            "tasks/get",
            "tasks/cancel",
            "notifications/x",
            "a{b",
            "\n",
            "7",
            "taskId",
            "result",
        ];
        match self.choose(4) {
            0 => {
                let word = self.pick(&["0", "-1.5e3", "true", "null", "12345678901234567890"]);
                self.out.push_str(word);
            }
            _ => {
                let text = self.pick(&TEXTS);
                self.string(text);
            }
        }
    }

    /// A value at `place`, which is mostly what stands there and sometimes anything.
    fn value(&mut self, place: &str, depth: usize) {
        if depth > 9 || self.choices.is_empty() {
            return self.leaf();
        }
        let place = if self.choose(16) == 15 { "" } else { place };
        match place {
            "tools" => self.array("tool", depth),
            "tasks" => self.array("task", depth),
            "taskIds" | "tasksStatus" => self.array("taskId", depth),
            "required" => self.array("argument", depth),
            "" => match self.choose(4) {
                0 | 1 => self.leaf(),
                2 => self.array("", depth),
                _ => self.object("", depth),
            },
            "taskId" | "name" | "method" => self.leaf(),
            "argument" => {
                let text = self.pick(&["key", "only_t1", "x", "é"]);
                self.string(text);
            }
            "result" | "params" | "_meta" | "task" | RELATED | "capabilities" | "capability"
            | "notifications" | "tool" | "inputSchema" | "properties" | "message" => {
                self.object(place, depth)
            }
            _ => {
                let place = if self.choose(4) == 3 { "" } else { "name" };
                self.value(place, depth + 1);
            }
        }
    }

    fn array(&mut self, element: &str, depth: usize) {
        self.out.push('[');
        for n in 0..1 + self.choose(4) {
            if n > 0 {
                self.out.push(',');
            }
            self.gap();
            self.value(element, depth + 1);
            self.gap();
        }
        self.out.push(']');
    }

    fn object(&mut self, place: &str, depth: usize) {
        const ANY: [&str; 24] = [
            "result",
            "params",
            "method",
            "tools",
            "taskId",
            "task",
            "tasks",
            "capabilities",
            "_meta",
            RELATED,
            "notifications",
            "taskIds",
            "tasksStatus",
            "name",
            "inputSchema",
            "properties",
            "required",
            "list",
            "key",
            "only_t1",
            "é",
            "",
            "x",
            "\"",
        ];
        let here: &[&str] = match place {
            "message" => &["result", "params", "result", "method", "params", "id"],
            "result" => &[
                "tools",
                "tools",
                "taskId",
                "task",
                "tasks",
                "capabilities",
                "_meta",
            ],
            "params" => &["taskId", "_meta", "notifications", "tools"],
            "_meta" => &[RELATED, "x"],
            "task" | RELATED => &["taskId", "status"],
            "capabilities" => &["tasks", "tools"],
            "notifications" => &["taskIds", "tasksStatus"],
            "tool" => &["inputSchema", "inputSchema", "name", "outputSchema"],
            "inputSchema" => &["properties", "required", "type"],
            "properties" => &["key", "only_t1", "é", "x", "y"],
            "capability" => &["list", "cancel"],
            _ => &ANY,
        };
        // What the order of two equal keys would mean, the model below cannot know. An object that
        // was written for any place may stand where a message or a tool is expected.
        let once = ["method", "result", "params", "name"];
        let mut used = BTreeSet::new();
        self.out.push('{');
        for _ in 0..1 + self.choose(5) {
            if self.choices.is_empty() && !used.is_empty() {
                break;
            }
            let key = if self.choose(16) == 15 {
                self.pick(&ANY)
            } else {
                self.pick(here)
            };
            if once.contains(&key) && used.contains(key) {
                continue;
            }
            if !used.is_empty() {
                self.out.push(',');
            }
            used.insert(key);
            self.gap();
            self.string(key);
            self.gap();
            self.out.push(':');
            self.gap();
            let below = if place == "capabilities" && key == "tasks" {
                "capability"
            } else {
                key
            };
            self.value(below, depth + 1);
            self.gap();
        }
        self.out.push('}');
    }
}

fn document() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<u8>(), 200..900).prop_map(|choices| {
        let mut writer = Writer {
            choices: &choices,
            out: String::new(),
        };
        writer.gap();
        if writer.choose(6) == 5 {
            writer.array("message", 0);
        } else {
            writer.object("message", 0);
        }
        writer.gap();
        writer.out
    })
}

/// One of these leaves most tools of a generated list, the other few.
fn rules() -> impl Strategy<Value = Marks> {
    const TOOLS: &[&[&str]] = &[&[], &["", "t2"], &["t1", "key", "7", "taskId"]];
    prop::sample::select(TOOLS).prop_map(|tools| Marks { tools, ..MODERN })
}

fn model(rules: Marks, body: &mut Value) {
    match body {
        Value::Array(messages) => messages.iter_mut().for_each(|m| model_message(rules, m)),
        message => model_message(rules, message),
    }
}

fn model_message(rules: Marks, message: &mut Value) {
    let Some(members) = message.as_object_mut() else {
        return;
    };
    let at = |key: &str| members.keys().position(|k| k == key);
    let asks = members
        .get("method")
        .and_then(Value::as_str)
        .is_some_and(|method| {
            ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"].contains(&method)
        });
    let clients = asks && at("method") < at("params");
    if let Some(params) = members.get_mut("params").and_then(Value::as_object_mut) {
        if !clients {
            seal(params.get_mut("taskId"));
        }
        seal(
            params
                .get_mut("_meta")
                .and_then(|meta| meta.get_mut(RELATED)?.get_mut("taskId")),
        );
        for list in ["taskIds", "tasksStatus"] {
            let ids = params
                .get_mut("notifications")
                .and_then(|n| n.get_mut(list)?.as_array_mut());
            ids.into_iter().flatten().for_each(|id| seal(Some(id)));
        }
    }
    let Some(result) = members.get_mut("result").and_then(Value::as_object_mut) else {
        return;
    };
    seal(result.get_mut("taskId"));
    seal(
        result
            .get_mut("task")
            .and_then(|task| task.get_mut("taskId")),
    );
    seal(
        result
            .get_mut("_meta")
            .and_then(|meta| meta.get_mut(RELATED)?.get_mut("taskId")),
    );
    let tasks = result.get_mut("tasks").and_then(Value::as_array_mut);
    tasks
        .into_iter()
        .flatten()
        .for_each(|task| seal(task.get_mut("taskId")));
    if let Some(tasks) = result
        .get_mut("capabilities")
        .and_then(|c| c.get_mut("tasks")?.as_object_mut())
    {
        tasks.shift_remove("list");
    }
    if let Some(tools) = result.get_mut("tools").and_then(Value::as_array_mut) {
        tools.retain(|tool| !rules.hides_tool(name(tool)));
        tools.iter_mut().for_each(model_tool);
    }
}

fn name(tool: &Value) -> &str {
    tool.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn model_tool(tool: &mut Value) {
    let name = name(tool).to_owned();
    let Some(schema) = tool.get_mut("inputSchema") else {
        return;
    };
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|key, _| !ALL.hides(&name, key));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| !key.as_str().is_some_and(|key| ALL.hides(&name, key)));
    }
}

fn seal(id: Option<&mut Value>) {
    if let Some(Value::String(id)) = id {
        *id = ALL.seal_task(id);
    }
}

/// The data of the first event of a stream, as a client joins it.
fn data(stream: &[u8]) -> String {
    let text = str::from_utf8(stream)
        .unwrap()
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let event = text.split("\n\n").next().unwrap();
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    let values: Vec<_> = lines
        .map(|value| value.strip_prefix(' ').unwrap_or(value))
        .collect();
    values.join("\n")
}

/// Where the lines of a stream end, and what the lines are that are no data.
fn lines(stream: &[u8]) -> Vec<String> {
    let text = str::from_utf8(stream).unwrap();
    let lines = text.split_inclusive(['\n', '\r']);
    let shape = |line: &str| {
        let end = line.trim_start_matches(|c| !matches!(c, '\n' | '\r'));
        match line.strip_prefix("data:") {
            Some(_) => format!("data:{end}"),
            None => line.to_owned(),
        }
    };
    lines.map(shape).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_is_what_the_model_says(document in document(), rules in rules(), gap in prop::sample::select(vec!["\n", "\r\n ", " "]), cuts in cuts()) {
        let input = document.replace(GAP, gap);
        let whole = run_json(rules, NO_LIMIT, [input.as_bytes()]);
        prop_assert_eq!(whole.1, Ok(()));
        let mut expected: Value = serde_json::from_str(&input).unwrap();
        model(rules, &mut expected);
        let output: Value = serde_json::from_slice(&whole.0).unwrap();
        prop_assert_eq!(output, expected);
        prop_assert_eq!(&run_json(rules, NO_LIMIT, pieces(input.as_bytes(), &cuts)), &whole);
        prop_assert_eq!(&run_json(rules, NO_LIMIT, input.as_bytes().chunks(1)), &whole);
    }

    #[test]
    fn an_event_is_what_the_model_says(
        document in document(),
        rules in rules(),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        between in prop::sample::select(vec!["", ": comment", "retry: 5", "data", "data:  "]),
        cuts in cuts(),
    ) {
        let line = match between {
            "" => format!("{end}data: "),
            between => format!("{end}{between}{end}data:"),
        };
        let input = format!("data: {}{end}event: message{end}{end}", document.replace(GAP, &line));
        let whole = run_events(rules, NO_LIMIT, [input.as_bytes()]);
        prop_assert_eq!(whole.1, Ok(()));
        let mut expected: Value = serde_json::from_str(&data(input.as_bytes())).unwrap();
        model(rules, &mut expected);
        let output: Value = serde_json::from_str(&data(&whole.0)).unwrap();
        prop_assert_eq!(output, expected);
        prop_assert_eq!(lines(&whole.0), lines(input.as_bytes()));
        prop_assert_eq!(&run_events(rules, NO_LIMIT, pieces(input.as_bytes(), &cuts)), &whole);
        prop_assert_eq!(&run_events(rules, NO_LIMIT, input.as_bytes().chunks(1)), &whole);
        // The data is JSON, so waiting for an `endpoint` event makes no difference.
        prop_assert_eq!(&run_events(Marks { legacy: true, ..rules }, NO_LIMIT, pieces(input.as_bytes(), &cuts)), &whole);
    }

    #[test]
    fn elsewhere_nothing_changes(document in document(), cuts in cuts()) {
        let input = format!("{{\"error\":{},\"result\":{{\"x\":[{}]}}}}", document.replace(GAP, "\n"), document.replace(GAP, ""));
        let output = run_json(FEWER, NO_LIMIT, pieces(input.as_bytes(), &cuts));
        prop_assert_eq!(output, (input.into_bytes(), Ok(())));
    }

    #[test]
    fn any_bytes_are_cut_anywhere(input in "([\\[\\]{}\",:\\\\1aé \n]|\"result\":|\"taskId\":\"|\"tools\":\\[\\{){0,24}", cuts in cuts()) {
        let input = format!("{{\"result\":{{{input}");
        let whole = run_json(FEWER, 40, [input.as_bytes()]);
        let cut = run_json(FEWER, 40, pieces(input.as_bytes(), &cuts));
        prop_assert_eq!(cut.1.is_ok(), whole.1.is_ok());
        if whole.1.is_ok() {
            prop_assert_eq!(cut, whole);
        }
    }
}

#[test]
fn the_generator_writes_what_has_to_change() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let changed = (0..1000)
        .filter(|_| {
            let input = document()
                .new_tree(&mut runner)
                .unwrap()
                .current()
                .replace(GAP, " ");
            let before: Value = serde_json::from_str(&input).unwrap();
            let mut after = before.clone();
            model(ALL, &mut after);
            before != after
        })
        .count();
    assert!(changed > 400, "{changed} of 1000");
}
