//! Any bytes: no panic, and every range of an accepted body lies in it and on characters.

use cloakroom::mcp::scan::{Body, MAX_BATCH, scan};

pub(crate) fn run(body: &[u8]) {
    match scan(body) {
        Err(error) => assert!(error.at() <= body.len()),
        Ok(parsed) => {
            let messages = match parsed {
                Body::One(message) => vec![*message],
                Body::Batch(messages) => messages,
            };
            assert!((1..=MAX_BATCH).contains(&messages.len()));
            let text = std::str::from_utf8(body).expect("an accepted body is UTF-8");
            for message in messages {
                for range in [
                    message.id,
                    message.params,
                    message.arguments,
                    message.result,
                ] {
                    assert!(range.is_none_or(|range| text.get(range).is_some()));
                }
            }
        }
    }
}
