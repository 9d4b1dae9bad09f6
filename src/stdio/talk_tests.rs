use super::*;
use crate::mcp::scan::{Body, scan};
use crate::stdio::heard::hear;

fn message(text: &str) -> Message<'_> {
    let Ok(Body::One(message)) = scan(text.as_bytes()) else {
        panic!("{text}")
    };
    *message
}

struct Side {
    talk: Talk<&'static str>,
    now: Instant,
    questions: u64,
}

impl Side {
    fn new() -> Self {
        Self {
            talk: Talk::default(),
            now: Instant::now(),
            questions: 100,
        }
    }

    fn ask(&mut self, text: &str, to: &'static str) -> String {
        let asked = self.talk.ask(text, &message(text), to, self.now);
        String::from_utf8(asked.unwrap().1.to_vec()).unwrap()
    }

    fn hear(&mut self, line: &str) -> Next<&'static str> {
        let questions = &mut self.questions;
        let question = || {
            *questions += 1;
            *questions
        };
        self.talk.hear(&hear(line).unwrap()[0], self.now, question)
    }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","_meta":{"progressToken":"tok"},"arguments":{"id":"a"}}}"#;

// Mutation: let `ask` leave the client's id where it is.
#[test]
fn equal_ids_of_two_clients_come_back_each_to_its_own() {
    let mut side = Side::new();
    assert_eq!(
        side.ask(CALL, "ada"),
        CALL.replacen("\"a\"", "1", 1).replace("\"tok\"", "1") + "\n"
    );
    assert!(
        side.ask(CALL, "bob")
            .starts_with(r#"{"jsonrpc":"2.0","id":2,"#)
    );
    let answer = |to, text: &'static str| Next::Answer {
        to,
        message: text.into(),
        refuses: None,
    };
    assert_eq!(
        side.hear(r#"{"id":2,"result":{"x":2}}"#),
        answer("bob", r#"{"id":"a","result":{"x":2}}"#)
    );
    assert_eq!(
        side.hear(
            r#"{"method":"notifications/progress","params":{"progressToken":1,"progress":3}}"#
        ),
        Next::Along(
            "ada",
            r#"{"method":"notifications/progress","params":{"progressToken":"tok","progress":3}}"#
                .into()
        )
    );
    assert_eq!(
        side.hear(r#"{"id":1,"result":{}}"#),
        answer("ada", r#"{"id":"a","result":{}}"#)
    );
    // Twice, late, made up, or in another form: nobody's.
    for line in [
        r#"{"id":1,"result":{}}"#,
        r#"{"id":99,"result":{}}"#,
        r#"{"id":"2","result":{}}"#,
        r#"{"method":"notifications/progress","params":{"progressToken":1}}"#,
    ] {
        assert_eq!(side.hear(line), Next::Nobody, "{line}");
    }
}

#[test]
fn a_subscription_is_known_by_its_clients_id() {
    let mut side = Side::new();
    side.ask(
        r#"{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{}}"#,
        "ada",
    );
    let told = |id| {
        format!(
            r#"{{"method":"notifications/tools/list_changed","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        )
    };
    assert_eq!(side.hear(&told(1)), Next::Along("ada", told(7).into()));
    assert_eq!(side.hear(&told(2)), Next::Nobody);
    let later = side.now + Duration::from_secs(3600);
    assert!(side.talk.give_up(later, Duration::from_secs(1)).is_empty());
    assert!(!side.talk.is_idle());
    assert_eq!(side.talk.end_subscriptions().len(), 1);
}

// Mutation: let `tell` leave the request under way: it would never be answered.
#[test]
fn what_is_taken_back_is_answered_to_nobody() {
    let mut side = Side::new();
    side.ask(CALL, "ada");
    let text = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}"#;
    let (line, gone) = side.talk.tell(text, &message(text)).unwrap();
    assert_eq!(line, text.replace("\"a\"", "1") + "\n");
    assert_eq!(gone.map(|gone| gone.to), Some("ada"));
    assert!(side.talk.tell(text, &message(text)).is_none());
    side.ask(CALL, "ada");
    assert_eq!(side.talk.take_back(2), Some(cancelled(2)));
    assert_eq!(side.talk.take_back(2), None);
    assert_eq!(side.hear(r#"{"id":1,"result":{}}"#), Next::Nobody);
}

#[test]
fn a_question_is_answered_once_and_only_if_it_was_asked() {
    let mut side = Side::new();
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
    let asked = question.replace("\"q\"", "101");
    assert_eq!(side.hear(question), Next::Loose(asked.into()));
    assert!(side.talk.is_idle(), "nobody may ever answer it");
    assert!(side.talk.hold() && !side.talk.close_if_idle());
    side.talk.release();
    let answer = "{\"jsonrpc\":\"2.0\",\r\n\"id\":101,\"result\":{}}";
    let told = side.talk.answer(answer, &message(answer));
    assert_eq!(
        told.unwrap(),
        "{\"jsonrpc\":\"2.0\",  \"id\":\"q\",\"result\":{}}\n"
    );
    assert_eq!(side.talk.answer(answer, &message(answer)), None);
    assert!(side.talk.close_if_idle());
    assert_eq!(
        side.talk.ask(CALL, &message(CALL), "ada", side.now),
        Err(Unheard::Closed)
    );
}

// Mutation: let questions keep the ids the child gave them.
#[test]
fn an_answer_to_one_child_is_none_to_the_next() {
    let mut side = Side::new();
    let question = r#"{"jsonrpc":"2.0","id":0,"method":"elicitation/create"}"#;
    side.hear(question);
    side.talk.close();
    side.talk = Talk::default();
    side.hear(question);
    let mut answered = |id: u64| {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        side.talk.answer(&answer, &message(&answer)).is_some()
    };
    assert!(!answered(0) && !answered(101) && answered(102));
}

#[test]
fn a_question_that_is_taken_back_is_named_as_its_client_knows_it() {
    let mut side = Side::new();
    // With the number of a request of ours.
    side.ask(CALL, "ada");
    side.hear(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
    let told = |id: &str| {
        format!(r#"{{"method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    };
    assert_eq!(side.hear(&told("1")), Next::Loose(told("101").into()));
    let answer = r#"{"jsonrpc":"2.0","id":101,"result":{}}"#;
    assert_eq!(side.talk.answer(answer, &message(answer)), None);
    assert_eq!(
        side.hear(&told("1")),
        Next::Along("ada", told("\"a\"").into())
    );
    assert_eq!(side.hear(&told("7")), Next::Nobody);
}

#[test]
fn who_waits_too_long_is_told_and_progress_counts() {
    let mut side = Side::new();
    side.ask(CALL, "ada");
    let plain = r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#;
    side.ask(plain, "bob");
    side.now += Duration::from_secs(9);
    side.hear(r#"{"method":"notifications/progress","params":{"progressToken":1}}"#);
    side.now += Duration::from_secs(1);
    let late = side.talk.give_up(side.now, Duration::from_secs(10));
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].number, &*late[0].id, late[0].to), (2, "3", "bob"));
    assert_eq!(side.talk.latest(), Some(&"ada"));
    assert_eq!(side.talk.close().len(), 1);
}

// Mutation: forget which resource was asked for.
#[test]
fn a_refused_subscription_is_named() {
    let mut side = Side::new();
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:1"}}"#;
    let heard = |side: &mut Side, line: &str| match side.hear(line) {
        Next::Answer { refuses, .. } => refuses,
        other => panic!("{other:?}"),
    };
    side.ask(text, "ada");
    let refused = heard(
        &mut side,
        r#"{"id":1,"error":{"code":-32002,"message":"x"}}"#,
    );
    assert_eq!(refused.as_deref(), Some("a:1"));
    side.ask(text, "ada");
    assert_eq!(heard(&mut side, r#"{"id":2,"result":{}}"#), None);
}

// Mutation: remember whatever a client sends.
#[test]
fn what_is_remembered_of_requests_is_bounded() {
    let mut side = Side::new();
    let with_id = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let ask = |side: &mut Side, text: &str| {
        let asked = side.talk.ask(text, &message(text), "ada", side.now);
        asked.map(drop)
    };
    let long = with_id(&format!("\"{}\"", "x".repeat(LITERAL)));
    assert_eq!(ask(&mut side, &long), Err(Unheard::Id));
    let none = r#"{"jsonrpc":"2.0","method":"initialize"}"#;
    assert_eq!(ask(&mut side, none), Err(Unheard::Id));
    for number in 0..UNDER_WAY {
        assert_eq!(ask(&mut side, &with_id(&number.to_string())), Ok(()));
    }
    assert_eq!(ask(&mut side, &with_id("1")), Err(Unheard::TooMany));
}
