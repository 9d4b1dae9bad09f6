//! The one place that writes: what was asked for on standard output, everything else on standard
//! error.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use zeroize::Zeroizing;

use super::Failure;
pub(super) use crate::vault::date;

/// Where a command writes.
pub struct Output {
    json: bool,
}

impl Output {
    /// `json`: one document instead of text.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a document was asked for instead of text.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Writes the answer: `document` with `--json`, else `text` as it is.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn answer(&self, document: &impl Serialize, text: &str) -> Result<(), Failure> {
        if !self.json {
            return write(text.as_bytes());
        }
        // The capacity keeps a document with a key in it from leaving copies behind as it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        serde_json::to_writer(&mut *bytes, document).map_err(Failure::new)?;
        bytes.push(b'\n');
        write(&bytes)
    }

    /// Says something beside the answer, on standard error.
    pub fn note(&self, text: &str) {
        // Nobody can be told that standard error is gone.
        let _ = writeln!(io::stderr(), "cloakroom: {text}");
    }

    /// Says why a command failed, on standard error.
    pub fn failure(&self, failure: &Failure) {
        let text = failure.to_string();
        for line in text.lines() {
            self.note(line);
        }
    }
}

/// Writes without the buffer of [`io::stdout`], which would keep a key until the process ends.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let written = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).write_all(bytes));
    written.map_err(|error| match error.kind() {
        // Whoever reads has seen enough, as `head` does.
        io::ErrorKind::BrokenPipe => Failure::told(1),
        _ => Failure::new(format!("standard output cannot be written: {error}")),
    })
}

/// Rows of equally many columns, aligned, each line ending with a newline.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Whether a moment in unix seconds has come.
pub(super) fn is_past(seconds: u64) -> bool {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .is_ok_and(|now| now.as_secs() >= seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let rows = [
            row(["NAME", "E-MAIL"]),
            row(["bob", ""]),
            row(["Zoë-long", "z@x"]),
        ];
        assert_eq!(table(&rows), "NAME      E-MAIL\nbob\nZoë-long  z@x\n");
    }

    #[test]
    fn dates_are_utc_and_never_panic() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
