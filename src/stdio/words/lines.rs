//! A child's standard error as lines that may be shown.

use std::mem;
use std::time::Instant;

use super::allowance::Allowance;
use super::escape::escape;
use super::tail::Tail;
use crate::stdio::mask::{Mask, PIECE};

/// Bytes shown of a line, before they are escaped.
const LINE: usize = 4096;
/// Bytes read of a line: of what begins before the cut, all that the mask has to see.
const READ: usize = LINE + PIECE;
/// Stands for a secret, whatever its length.
const HIDDEN: &str = "***";
/// Stands for the rest of a line.
const CUT: &str = " [cut]";
/// Lines let through at once, and then each second.
const LINES: (u32, u32) = (50, 10);
/// Bytes looked at at once, and then each second: what a child costs that never stops writing.
const BYTES: (u32, u32) = (256 * 1024, 64 * 1024);

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A line, masked and escaped.
    Line(&'a str),
    /// So many lines, which came before the next one.
    LeftOut(u64),
}

/// Cuts bytes into lines, hides secrets in them, escapes what moves a cursor, and leaves lines out when they
/// are too many. Keeps some 4 KiB of a line that is not whole yet, else none, and 1 KiB of the last lines.
///
/// Lines without visible text are not lines.
pub struct Lines {
    mask: Mask,
    line: Vec<u8>,
    /// Bytes of the line that are not in `line`.
    lost: usize,
    tail: Tail,
    lines: Allowance,
    bytes: Allowance,
    left_out: u64,
}

impl Lines {
    /// Of a child whose secrets `mask` hides.
    #[must_use]
    pub fn new(mask: Mask, now: Instant) -> Self {
        Self {
            mask,
            line: Vec::new(),
            lost: 0,
            tail: Tail::default(),
            lines: Allowance::new(LINES.0, LINES.1, now),
            bytes: Allowance::new(BYTES.0, BYTES.1, now),
            left_out: 0,
        }
    }

    /// Takes what came next; tells `said` what may be shown.
    pub fn push(&mut self, bytes: &[u8], now: Instant, mut said: impl FnMut(Said<'_>)) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.add(&bytes[start..end], now);
            self.end_line(now, &mut said);
            start = end + 1;
        }
        self.add(&bytes[start..], now);
        if self.line.is_empty() {
            self.line = Vec::new();
        }
    }

    /// Nothing more comes: a line that has begun has ended.
    pub fn end(&mut self, now: Instant, mut said: impl FnMut(Said<'_>)) {
        self.end_line(now, &mut said);
        self.tell_left_out(&mut said);
    }

    /// The last lines that were looked at, whether or not they were let through: at most 20, and 1 KiB,
    /// parted by ` | `.
    #[must_use]
    pub fn tail(&self) -> String {
        self.tail.text()
    }

    fn add(&mut self, part: &[u8], now: Instant) {
        // A line is looked at to its cut or not at all, or its end would be the beginning of a secret.
        let skips = self.line.is_empty() && (self.lost > 0 || self.bytes.left(now) == 0);
        let room = if skips { 0 } else { READ - self.line.len() };
        let (part, rest) = part.split_at(part.len().min(room));
        self.line.extend_from_slice(part);
        self.bytes.take(part.len());
        self.lost += rest.len();
    }

    fn end_line(&mut self, now: Instant, said: &mut impl FnMut(Said<'_>)) {
        let mut line = mem::take(&mut self.line);
        let lost = mem::take(&mut self.lost);
        line.pop_if(|last| *last == b'\r' && lost == 0);
        if line.is_empty() && lost > 0 {
            self.left_out += 1;
        } else if !line.trim_ascii().is_empty() {
            let text = self.shown(&line, lost > 0);
            self.tail.push(&text);
            self.tell(&text, now, said);
        }
        line.clear();
        self.line = line;
    }

    /// Once lines were left out, those of a whole second are let through together or none.
    fn tell(&mut self, text: &str, now: Instant, said: &mut impl FnMut(Said<'_>)) {
        let wanted = if self.left_out > 0 { LINES.1 } else { 1 };
        if self.lines.left(now) < wanted {
            self.left_out += 1;
            return;
        }
        if self.tell_left_out(said) {
            self.lines.take(1);
        }
        self.lines.take(1);
        said(Said::Line(text));
    }

    fn tell_left_out(&mut self, said: &mut impl FnMut(Said<'_>)) -> bool {
        let left_out = mem::take(&mut self.left_out);
        if left_out > 0 {
            said(Said::LeftOut(left_out));
        }
        left_out > 0
    }

    fn shown(&self, line: &[u8], cut: bool) -> String {
        let end = line.len().min(LINE);
        let mut text = String::with_capacity(end);
        let mut at = 0;
        for hidden in self.mask.find(line) {
            if hidden.start >= end {
                break;
            }
            escape(&line[at..hidden.start], &mut text);
            text.push_str(HIDDEN);
            at = hidden.end;
        }
        if at < end {
            escape(&line[at..end], &mut text);
        }
        if cut || line.len() > LINE {
            text.push_str(CUT);
        }
        text
    }
}
