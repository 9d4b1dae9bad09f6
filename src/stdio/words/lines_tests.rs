use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::{Lines, Said};
use crate::stdio::Mask;

const SECRET: &str = "ghp_A1b2/C3\"d4+é&<Zz";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\r\n\
                   BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nKw==\n-----END PRIVATE KEY-----\n";

/// What is logged of `bytes`, pushed in pieces of so many, and the tail.
fn shown(secrets: &[&[u8]], bytes: &[u8], piece: usize) -> (Vec<String>, String) {
    let now = Instant::now();
    let mut lines = Lines::new(Mask::of(secrets.iter().copied()), now);
    let mut out = Vec::new();
    let mut said = |said: Said<'_>| {
        out.push(match said {
            Said::Line(line) => line.to_owned(),
            Said::LeftOut(lines) => format!("<{lines}>"),
        });
    };
    for piece in bytes.chunks(piece.max(1)) {
        lines.push(piece, now, &mut said);
    }
    lines.end(now, &mut said);
    (out, lines.tail())
}

fn line(secrets: &[&str], text: &str) -> String {
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_bytes()).collect();
    let (lines, tail) = shown(&secrets, text.as_bytes(), usize::MAX);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(tail, lines[0]);
    tail
}

fn lower_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What the programs of others make of `secret`, with what stands before and behind it in the same text.
/// Not made by `forms`.
fn written(secret: &str) -> Vec<(&'static str, String)> {
    let json = serde_json::to_string(secret).unwrap();
    let ascii: String = json.encode_utf16().fold(String::new(), |mut out, unit| {
        match char::from_u32(unit.into()).filter(char::is_ascii) {
            Some(c) => out.push(c),
            None => out += &format!("\\u{unit:04x}"),
        }
        out
    });
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    vec![
        ("raw", format!("token={secret};")),
        ("JSON", json.clone()),
        ("JSON of Python", ascii.clone()),
        ("JSON of PHP", ascii.replace('/', "\\/")),
        (
            "JSON of Go",
            json.replace('&', "\\u0026")
                .replace('<', "\\u003c")
                .replace('>', "\\u003e"),
        ),
        (
            "form",
            url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        ),
        ("RFC 3986", unreserved(&percent, "-._~")),
        ("encodeURIComponent", unreserved(&percent, "-_.!~*'()")),
        ("quote", unreserved(&percent, "-._~/")),
        ("hex", lower_hex(secret)),
        ("upper hex", lower_hex(secret).to_uppercase()),
    ]
}

/// Percent-encoded text with some of it as it was.
fn unreserved(percent: &str, marks: &str) -> String {
    let mut text = percent.to_owned();
    for mark in marks.bytes() {
        text = text.replace(&format!("%{mark:02X}"), &char::from(mark).to_string());
    }
    text
}

// Fails when a form is left out of `forms::each`.
#[test]
fn every_form_is_hidden() {
    for (form, text) in written(SECRET) {
        let shown = line(&[SECRET], &format!("a {text} b"));
        let rest = shown.strip_prefix("a ").and_then(|s| s.strip_suffix(" b"));
        let rest = rest.unwrap_or_else(|| panic!("{form}: {shown}"));
        let hidden = ["***", "\"***\"", "token=***;"].contains(&rest);
        assert!(hidden, "{form}: {shown} of {text}");
    }
}

// Fails when one of the three alignments is left out, when the characters at its edges are shown (they hold
// up to four bits of the secret), or when one of the alphabets is.
#[test]
fn base64_is_hidden_wherever_the_secret_stands_in_it() {
    for before in ["", "u", "us", "use", "user:"] {
        for after in ["", ":", "::", ":::"] {
            let text = format!("{before}{SECRET}{after}");
            let (first, last) = (before.len() * 8 / 6, (before.len() + SECRET.len()) * 8);
            for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
                let written = engine.encode(&text);
                let end = last.div_ceil(6);
                let wanted = format!("Basic {}***{}", &written[..first], &written[end..]);
                assert_eq!(line(&[SECRET], &format!("Basic {written}")), wanted);
            }
        }
    }
}

// Fails when a range is not joined with one it overlaps or touches: the rest of the other would show.
#[test]
fn secrets_that_overlap_are_hidden_whole() {
    let secrets = ["abcdef", "defghi", "cdefg", "xyzxyz"];
    assert_eq!(line(&secrets, "1 abcdefghi 2"), "1 *** 2");
    assert_eq!(line(&secrets, "1 abcdefghixyzxyz 2"), "1 *** 2");
    for secrets in [["abcdef", "efghijk"], ["efghijk", "abcdef"]] {
        assert_eq!(line(&secrets, "1 abcdefghijk 2"), "1 *** 2");
    }
    assert_eq!(line(&secrets, "abcdef-xyzxyzxyz"), "***-***");
    assert_eq!(line(&secrets, "abcde xyzxy"), "abcde xyzxy");
    assert_eq!(line(&["aaaa"], &"a".repeat(4000)), "***");
}

// Fails when `SHORTEST` is another number.
#[test]
fn what_is_shorter_than_four_bytes_is_not_hidden() {
    assert_eq!(line(&["abc", " ab\n", ""], "abc ab"), "abc ab");
    assert_eq!(line(&["abcd"], "abcd"), "***");
    assert_eq!(line(&[" abcd\n"], "<abcd>"), "<***>");
}

// Fails when lines of a secret are no forms of their own, or a long form is looked for in one piece only.
#[test]
fn a_secret_of_several_lines_is_hidden_line_by_line_and_in_one() {
    let (lines, tail) = shown(&[PEM.as_bytes()], PEM.as_bytes(), 7);
    assert_eq!(lines, ["***", "***", "***", "Kw==", "***"]);
    assert_eq!(tail, "*** | *** | *** | Kw== | ***");
    let json = serde_json::to_string(PEM.trim()).unwrap();
    assert_eq!(line(&[PEM], &json), "\"***\"");
    let document = format!("{{\"key\": \"{PEM}\"}}");
    let written = STANDARD.encode(&document);
    let shown = line(&[PEM], &written);
    assert!(shown.len() < 30 && shown.contains("***"), "{shown}");
}

// Fails when less is read of a line than the mask has to see, or a line is cut before it is masked.
#[test]
fn a_secret_across_the_cut_of_a_line_is_hidden() {
    let long = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(5);
    for secret in [SECRET, &long] {
        for (_, written) in written(secret) {
            for before in (3900..4200).filter(|at| at % 3 == 0 || (4090..4100).contains(at)) {
                let text = format!("{}{written}{}", "-".repeat(before), "-".repeat(300));
                let shown = shown(&[secret.as_bytes()], text.as_bytes(), 1000)
                    .0
                    .remove(0);
                let cut = shown.strip_suffix(" [cut]").expect("it is longer");
                let rest = cut.trim_start_matches('-');
                let odd = [
                    "",
                    "\"",
                    "***",
                    "\"***",
                    "\"***\"",
                    "t",
                    "to",
                    "tok",
                    "toke",
                    "token",
                    "token=",
                    "token=***",
                    "token=***;",
                ];
                assert!(
                    odd.contains(&rest.trim_end_matches('-')),
                    "{before}: {rest}"
                );
            }
        }
    }
}

// Fails when the cut is elsewhere, or what follows it begins a line.
#[test]
fn a_long_line_is_cut_and_the_next_one_is_whole() {
    for (length, cut) in [
        (4096, ""),
        (4097, " [cut]"),
        (4160, " [cut]"),
        (4161, " [cut]"),
        (100_000, " [cut]"),
    ] {
        let text = format!("{}\r\nnext\n", "-".repeat(length));
        let (lines, _) = shown(&[], text.as_bytes(), 1000);
        assert_eq!(lines[1], "next");
        assert_eq!(lines[0], format!("{}{cut}", "-".repeat(4096)));
    }
    let (lines, _) = shown(&[], "-".repeat(4096).as_bytes(), 4096);
    assert_eq!(lines, ["-".repeat(4096)]);
}

struct Child {
    lines: Lines,
    now: Instant,
    said: Vec<String>,
}

impl Child {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            lines: Lines::new(Mask::of([SECRET.as_bytes()]), now),
            now,
            said: Vec::new(),
        }
    }

    fn after(&mut self, millis: u64, text: &str) -> Vec<String> {
        self.now += Duration::from_millis(millis);
        let said = &mut self.said;
        self.lines.push(text.as_bytes(), self.now, |line| {
            said.push(match line {
                Said::Line(line) => line.to_owned(),
                Said::LeftOut(lines) => format!("<{lines}>"),
            });
        });
        std::mem::take(&mut self.said)
    }
}

// Fails when the burst or the rate is another number, or lines are left out and nobody is told how many.
#[test]
fn fifty_lines_at_once_and_then_ten_a_second() {
    let mut child = Child::new();
    assert_eq!(child.after(0, &"a\n".repeat(60)), ["a"; 50]);
    assert_eq!(child.after(900, "b\n"), [""; 0], "together or not at all");
    assert_eq!(child.after(100, "c\nd\n\n \r\n"), ["<11>", "c", "d"]);
    assert_eq!(child.after(500, "e\n"), ["e"]);
    assert_eq!(child.after(0, &"f\n".repeat(12)), ["f"; 11]);
    assert_eq!(child.after(60_000, &"g\n".repeat(60)).len(), 50);
    let mut said = Vec::new();
    child
        .lines
        .end(child.now, |line| said.push(format!("{line:?}")));
    assert_eq!(said, ["LeftOut(11)"]);
}

// Fails when a line is left out of the tail because it was left out of the log.
#[test]
fn the_tail_has_what_the_log_has_not() {
    let mut child = Child::new();
    child.after(0, &"a\n".repeat(50));
    assert_eq!(
        child.after(0, &format!("Error: {SECRET} is wrong\n")),
        [""; 0]
    );
    assert!(child.lines.tail().ends_with("a | Error: *** is wrong"));
}

// Fails when every byte is looked at however many there are, or a line is looked at in part.
#[test]
fn a_flood_is_counted_and_not_looked_at() {
    let mut child = Child::new();
    let line = format!("{}{SECRET}\n", "-".repeat(1000));
    for _ in 0..10_000 {
        for half in [&line[..1010], &line[1010..]] {
            let said = child.after(0, half);
            assert!(said.iter().all(|line| line.ends_with("-***")), "{said:?}");
        }
    }
    child.after(0, "last\n");
    assert!(!child.lines.tail().contains("last"));
    assert_eq!(
        child.after(5000, "next\n"),
        [format!("<{}>", 10_001 - 50), "next".into()]
    );
    assert!(child.lines.tail().ends_with("-*** | next"));
}

fn secrets() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_]{4,90}",
        "[ -~&&[^*]]{4,200}",
        "[^*\\p{Cc}\\p{Z}]{4,40}",
        "[a-z]{4}"
    ]
    .prop_filter("hidden are secrets of four bytes", |text| {
        text.trim().len() >= 4
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Fails when a push that ends in the middle of a secret ends a line, or forgets one.
    #[test]
    fn no_secret_shows_however_it_is_written_and_cut(
        secret in secrets(), before in "[ -~&&[^*]]{0,80}|-{4000,4200}", after in "[ -~&&[^*]]{0,80}", piece in 1usize..200,
    ) {
        for (form, text) in written(secret.trim()) {
            let bytes = format!("{before}{text}{after}\n");
            let (lines, tail) = shown(&[secret.as_bytes()], bytes.as_bytes(), piece);
            let text = if form == "raw" { secret.trim() } else { &text };
            let mut escaped = String::new();
            super::escape::escape(text.as_bytes(), &mut escaped);
            for out in lines.iter().chain([&tail]) {
                prop_assert!(!out.contains(text) && !out.contains(&escaped), "{form}: {out}");
            }
        }
    }

    #[test]
    fn a_secret_may_be_split_at_every_byte(secret in "[!-~&&[^*]]{4,70}", before in "[ -~]{0,9}") {
        let bytes = format!("{before}{secret} z\n");
        for at in 0..bytes.len() {
            let now = Instant::now();
            let mut lines = Lines::new(Mask::of([secret.as_bytes()]), now);
            for part in [&bytes[..at], &bytes[at..]] {
                lines.push(part.as_bytes(), now, |said| assert!(!format!("{said:?}").contains(&secret)));
            }
            prop_assert!(lines.tail().contains("*** z"));
        }
    }

    // Fails when any text is taken for a secret that is none.
    #[test]
    fn other_text_passes_unchanged(secret in "[A-Z]{4,90}", text in "[!-~&&[^A-Z]][ -~&&[^A-Z]]{0,300}", piece in 1usize..200) {
        let (lines, tail) = shown(&[secret.as_bytes()], format!("{text}\n").as_bytes(), piece);
        // Hex, and percent-encoding in lower case, are made of what the text is made of.
        prop_assume!(!text.contains(&lower_hex(&secret)));
        prop_assert_eq!(&lines, &[&*text]);
        prop_assert_eq!(tail, text);
    }

    #[test]
    fn any_bytes_become_visible_text_of_the_same_kind_however_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..6000), secret in prop::collection::vec(any::<u8>(), 0..9), piece in 1usize..6000,
    ) {
        let whole = shown(&[&secret], &bytes, usize::MAX);
        prop_assert!(whole.1.len() <= 1024);
        prop_assert!(!whole.0.iter().chain([&whole.1]).any(|line| line.contains(char::is_control)));
        prop_assert_eq!(whole, shown(&[&secret], &bytes, piece));
    }
}
