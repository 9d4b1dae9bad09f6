//! Any configuration, as a text and as variables: no panic, and no error repeats a value.
//!
//! An input is TOML, then perhaps the line `#env` and variables, one `NAME=value` a line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use cloakroom::config::{load, load_store};
use toml::{Table, Value};

/// Put into every value, and looked for in every error.
const MARK: &str = "hUsHv7mArK";
/// The same where a key might stand: there an error writes it `\u{a7}`, which no value becomes.
const STRANGE_MARK: &str = "\u{a7}shh\u{a7}";
/// In place of numbers.
const NUMBER: i64 = 836_019_377_512;

type Variables = Vec<(OsString, OsString)>;

pub(crate) fn run(input: &[u8]) {
    let (text, lines) = split(input);
    let variables: Variables = lines
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|&b| b == b'=')?;
            Some((os(&line[..at]), os(&line[at + 1..])))
        })
        .collect();
    let _ = complaints(text.to_vec(), &variables);
    let (Ok(text), Ok(lines)) = (std::str::from_utf8(text), std::str::from_utf8(lines)) else {
        return;
    };
    // Somebody may name a key like this.
    if [text, lines]
        .iter()
        .any(|t| t.contains(MARK) || t.contains("shh") || t.contains("83601"))
    {
        return;
    }
    let marked: Variables = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), inserted(value, value.len(), MARK).into()))
        .collect();
    let kept = complaints(text.as_bytes().to_vec(), &marked);
    assert!(!repeats(&kept, MARK), "{kept}");
    let strange: Vec<_> = text.split('\n').map(after_equals).collect();
    let kept = complaints(strange.join("\n").into_bytes(), &marked);
    assert!(!repeats(&kept, STRANGE_MARK), "{kept}");
    if let Ok(mut table) = toml::from_str::<Table>(text) {
        let mut turn = text.len();
        table
            .iter_mut()
            .for_each(|(_, value)| mark(value, &mut turn));
        let written = toml::to_string(&table).unwrap_or_default();
        let kept = complaints(written.into_bytes(), &variables);
        assert!(!repeats(&kept, MARK), "{kept}");
        assert!(!repeats(&kept, &NUMBER.to_string()), "{kept}");
    }
}

/// Everything that is said of a configuration; but for the paths of files that cannot be read.
fn complaints(text: Vec<u8>, variables: &Variables) -> String {
    let mut all = variables.clone();
    all.push(("CLOAKROOM_CONFIG_TOML".into(), OsString::from_vec(text)));
    let mut said = match load(None, all.clone()) {
        Ok(config) => config.warnings.join("\n"),
        Err(errors) => {
            assert!(errors.iter().next().is_some());
            errors.to_string()
        }
    };
    if let Err(errors) = load_store(None, all) {
        said.push_str(&format!("\n{errors}"));
    }
    said
}

fn repeats(said: &str, mark: &str) -> bool {
    let mut lines = said
        .lines()
        .filter(|line| !line.contains("cannot be read ("));
    lines.any(|line| line.contains(mark))
}

/// Marks every value below.
fn mark(value: &mut Value, turn: &mut usize) {
    *turn += 1;
    match value {
        Value::String(text) => *text = inserted(text, *turn, MARK),
        Value::Integer(number) if turn.is_multiple_of(2) => *number = NUMBER,
        Value::Array(items) => items.iter_mut().for_each(|item| mark(item, turn)),
        Value::Table(table) => table.iter_mut().for_each(|(_, item)| mark(item, turn)),
        _ => {}
    }
}

/// With `mark` at its end, its beginning or its middle.
fn inserted(text: &str, turn: usize, mark: &str) -> String {
    let middle = text.floor_char_boundary(text.len() / 2);
    let at = [text.len(), 0, middle][turn % 3];
    format!("{}{mark}{}", &text[..at], &text[at..])
}

fn after_equals(line: &str) -> String {
    match line.split_once('=') {
        Some((key, value)) => {
            // Within quotes on every second line, so that it is TOML.
            let quoted = value
                .trim_start()
                .strip_prefix('"')
                .filter(|_| line.len().is_multiple_of(2));
            match quoted {
                Some(rest) => format!("{key}=\"{STRANGE_MARK}{rest}"),
                None => format!("{key}={STRANGE_MARK}{value}"),
            }
        }
        None => line.to_owned(),
    }
}

fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let line = b"\n#env\n";
    match input.windows(line.len()).position(|here| here == line) {
        Some(at) => (&input[..at], &input[at + line.len()..]),
        None => (input, b""),
    }
}

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}
