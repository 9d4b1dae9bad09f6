//! CSV that somebody else wrote, a row at a time. Errors repeat no cell.

use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder};

use super::FileError;
use super::draft::Refusal;

/// A table with a first line that names its columns.
pub(super) struct Table {
    columns: BTreeMap<String, usize>,
    rows: Vec<(u64, Result<ByteRecord, Refusal>)>,
}

impl Table {
    /// Reads all of it. It must have the column `first`: a file that begins with data is told by that.
    pub(super) fn parse(bytes: &[u8], first: &str) -> Result<Self, FileError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = ReaderBuilder::new()
            .has_headers(true)
            .flexible(true)
            .from_reader(bytes);
        let no_head = || {
            FileError::new(format!(
                "the first line names no column `{first}`: it has to name the columns of this CSV"
            ))
        };
        let head = reader.byte_headers().map_err(|_| no_head())?.clone();
        let mut columns = BTreeMap::new();
        let mut twice = None;
        for (index, name) in head.iter().enumerate() {
            let name = std::str::from_utf8(name).map_err(|_| no_head())?.trim();
            if columns.insert(name.to_owned(), index).is_some() {
                twice = Some(index + 1);
            }
        }
        if !columns.contains_key(first) {
            return Err(no_head());
        }
        if let Some(column) = twice {
            return Err(FileError::new(format!(
                "column {column} has the name of another: give each its own"
            )));
        }
        let mut rows = Vec::new();
        let mut lines = Lines {
            bytes,
            at: 0,
            line: 1,
        };
        for record in reader.into_byte_records() {
            let record = record.map_err(|_| FileError::new("it is not CSV"))?;
            let line = record.position().map_or(0, |at| lines.of(at.byte()));
            let row = if record.len() == head.len() {
                Ok(record)
            } else {
                Err(Refusal::new(format!(
                    "it has {} cells where the first line names {}",
                    record.len(),
                    head.len()
                )))
            };
            rows.push((line, row));
        }
        Ok(Self { columns, rows })
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// Every row under its line.
    pub(super) fn rows(&self) -> impl Iterator<Item = (String, Result<Row<'_>, Refusal>)> {
        self.rows.iter().map(|(line, row)| {
            let row = row.as_ref().map_err(Clone::clone);
            let cells = row.map(|cells| Row { table: self, cells });
            (format!("line {line}"), cells)
        })
    }
}

/// Counts lines. The reader's own count stands before the line breaks and empty lines a row follows.
struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that the reader began to look for at `start`, which is never less than before.
    fn of(&mut self, start: u64) -> u64 {
        let is_break = |byte: u8| byte == b'\n' || byte == b'\r';
        while let Some(&byte) = self.bytes.get(self.at)
            && (self.at < start as usize || is_break(byte))
        {
            let ends_line =
                byte == b'\n' || (byte == b'\r' && self.bytes.get(self.at + 1) != Some(&b'\n'));
            self.line += u64::from(ends_line);
            self.at += 1;
        }
        self.line
    }
}

/// A row of it.
pub(super) struct Row<'t> {
    table: &'t Table,
    cells: &'t ByteRecord,
}

impl<'t> Row<'t> {
    /// A cell as it stands; empty where there is no such column.
    pub(super) fn bytes(&self, name: &str) -> &'t [u8] {
        let column = self.table.columns.get(name);
        column
            .and_then(|index| self.cells.get(*index))
            .unwrap_or_default()
    }

    /// A cell as text, without spaces around it.
    pub(super) fn text(&self, name: &str) -> Result<&'t str, Refusal> {
        std::str::from_utf8(self.bytes(name))
            .map(str::trim)
            .map_err(|_| Refusal::new(format!("`{name}` is not UTF-8 text")))
    }
}
