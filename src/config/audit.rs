//! `[audit]`: where the audit trail goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Value;
use super::reader::{Section, optional, text};
use super::{DataDir, keys, values};
use crate::store::StoreUrl;

/// Where the audit trail goes, and what becomes of what cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The file, if it goes to one: `audit.jsonl` in `data_dir` unless said.
    pub file: Option<PathBuf>,
    /// Whether it goes to standard output.
    pub stdout: bool,
    /// The stream of the store, if it goes to one; the store is Redis then.
    pub stream: Option<AuditStream>,
    /// Whether a request that cannot be recorded is refused.
    pub required: bool,
    /// Whether what the file took is on the disk before a request goes on.
    pub sync: bool,
    /// How long the store remembers how far a chain goes that nobody writes any more: 1 to 3650 days.
    pub anchors_for: Duration,
}

/// A stream of a Redis store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditStream {
    /// What it is called: 1 to 63 of `a-z 0-9 -`.
    pub name: String,
    /// How many records it keeps, about: 1,000 to 1,000,000,000.
    pub keep: u64,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `required` alone.
pub(super) fn required(root: &Section<'_>) -> Option<bool> {
    let section = root.section("audit", keys::AUDIT)?;
    section.required("required", values::switch)
}

/// `url` and `data_dir` are none when they are wrong, which is told already.
pub(super) fn read(
    root: &Section<'_>,
    folder: &Path,
    url: Option<&StoreUrl>,
    data_dir: Option<&DataDir>,
) -> Option<Audit> {
    let section = root.section("audit", keys::AUDIT)?;
    let file = optional(&section, "file", |value| file(value, folder));
    let stdout = section.required("stdout", values::switch);
    let stream = stream(&section, url);
    let required = section.required("required", values::switch);
    let sync = section.required("sync", values::switch);
    let anchors_for = section.required("anchors_for", |value| {
        values::duration(value, DAY, 3650 * DAY)
    });
    let file = match file? {
        Some(written) => written,
        None => Some(data_dir?.audit()),
    };
    let audit = Audit {
        file,
        stdout: stdout?,
        stream: stream?,
        required: required?,
        sync: sync?,
        anchors_for: anchors_for?,
    };
    if audit.required && audit.file.is_none() && !audit.stdout && audit.stream.is_none() {
        let message = "nothing can be recorded: there is nowhere to write to; set `file`, `stdout` or \
                       `redis_stream`";
        section.fail("required", message);
        return None;
    }
    Some(audit)
}

/// The inner `None` is no file.
#[allow(clippy::option_option, reason = "the empty text is not no key")]
fn file(value: &Value, folder: &Path) -> Result<Option<PathBuf>, String> {
    match text(value, "the path of a file, or \"\" for none")? {
        "" => Ok(None),
        path => values::file(path, folder).map(Some),
    }
}

/// The outer `None` is an error, the inner one no stream.
#[allow(
    clippy::option_option,
    reason = "a mistake is not the same as no stream"
)]
fn stream(section: &Section<'_>, url: Option<&StoreUrl>) -> Option<Option<AuditStream>> {
    const KEY: &str = "redis_stream";
    let name = optional(section, KEY, |value| {
        let name = text(value, "a name such as \"audit\"")?;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=63).contains(&name.len()) && name.bytes().all(allowed);
        let error = || "write 1 to 63 of a-z 0-9 -".to_owned();
        fits.then(|| name.to_owned()).ok_or_else(error)
    });
    let keep = section.required("redis_keep", |value| {
        values::number(value, 1000, 1_000_000_000)
    });
    let (name, keep) = (name?, keep?);
    if name.is_some() && !url?.is_redis() {
        section.fail_key(KEY, "is for a Redis store only; remove it");
        return None;
    }
    Some(name.map(|name| AuditStream {
        name,
        keep: keep as u64,
    }))
}
