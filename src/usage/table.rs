//! Usage as a table for spreadsheets.

use csv::{QuoteStyle, WriterBuilder};

use crate::vault::Use;

/// CSV (RFC 4180) with a line of names, every cell quoted. Times are seconds since 1970.
///
/// What a client calls itself may begin like a formula: such a cell begins with `'`, as spreadsheets want.
#[must_use]
pub fn csv<'a>(rows: impl Iterator<Item = (&'a str, &'a Use)>) -> String {
    let mut to = WriterBuilder::new()
        .quote_style(QuoteStyle::Always)
        .from_writer(Vec::new());
    // Into memory: it cannot fail but for rows of different lengths, which these are not.
    let _ = to.write_record([
        "user",
        "key",
        "server",
        "requests",
        "errors",
        "first_seen",
        "last_seen",
        "address",
        "client",
    ]);
    for (user, used) in rows {
        let address = used.address.map(|address| address.to_string());
        let _ = to.write_record([
            &*plain(user),
            &used.key,
            &used.server,
            &used.requests.to_string(),
            &used.errors.to_string(),
            &used.first.to_string(),
            &used.last.to_string(),
            address.as_deref().unwrap_or_default(),
            &*plain(used.client.as_deref().unwrap_or_default()),
        ]);
    }
    let bytes = to.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when cells are quoted only where they must be, or a formula stays one.
    #[test]
    fn what_a_client_calls_itself_is_a_text_in_any_spreadsheet() {
        let used = Use {
            key: "0".repeat(16),
            server: "a".to_owned(),
            requests: 3,
            errors: 1,
            first: 5,
            last: 6,
            address: Some([127, 0, 0, 1].into()),
            client: Some("=cmd|' /C calc'!A1, \"x\"\n".to_owned()),
        };
        let text = csv([("+bob", &used)].into_iter());
        let row = text.split_once('\n').unwrap().1;
        let expected = "\"'+bob\",\"0000000000000000\",\"a\",\"3\",\"1\",\"5\",\"6\",\"127.0.0.1\",\
                        \"'=cmd|' /C calc'!A1, \"\"x\"\"\n\"\n";
        assert_eq!(row, expected);
    }
}
