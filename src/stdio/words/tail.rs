//! The last lines a child wrote, for the text of an error.

/// Bytes of [`Tail::text`].
pub(super) const BYTES: usize = 1024;
/// Lines kept.
const LINES: usize = 20;
/// Between two lines.
const BETWEEN: &str = " | ";

/// The newest lines, as many as there is room for.
#[derive(Default)]
pub(super) struct Tail {
    /// Each after the other, parted by line breaks, of which they have none themselves.
    lines: String,
    count: usize,
}

impl Tail {
    pub(super) fn push(&mut self, line: &str) {
        let short = (0..=line.len().min(BYTES))
            .rev()
            .find_map(|end| line.get(..end))
            .unwrap_or_default();
        while self.count >= LINES
            || (self.count > 0 && self.length() + BETWEEN.len() + short.len() > BYTES)
        {
            let first = self.lines.find('\n').map_or(self.lines.len(), |at| at + 1);
            self.lines.drain(..first);
            self.count -= 1;
        }
        if self.count > 0 {
            self.lines.push('\n');
        }
        self.lines.push_str(short);
        self.count += 1;
    }

    /// The lines in the order they came, parted by ` | `.
    pub(super) fn text(&self) -> String {
        self.lines.replace('\n', BETWEEN)
    }

    /// Of the text.
    fn length(&self) -> usize {
        self.lines.len() + self.count.saturating_sub(1) * (BETWEEN.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> String {
        let mut tail = Tail::default();
        for line in lines {
            tail.push(line);
        }
        tail.text()
    }

    // Fails when either bound is one off, or the oldest stay.
    #[test]
    fn the_newest_lines_stay_whole() {
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["a", "b c"]), "a | b c");
        let many: Vec<_> = (0..21).map(|i| i.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many), many[1..].join(" | "));
        let (half, rest) = ("a".repeat(512), "b".repeat(509));
        assert_eq!(of(&["old", &half, &rest]), format!("{half} | {rest}"));
        assert_eq!(of(&[&half, &rest]).len(), BYTES);
        assert_eq!(of(&[&half, &format!("{rest}b")]), format!("{rest}b"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(of(&["a", &"b".repeat(2000)]), "b".repeat(BYTES));
        assert_eq!(of(&[&"€".repeat(2000)]), "€".repeat(BYTES / 3));
    }
}
