//! Figures in the text format of Prometheus (0.0.4).

use std::fmt::Write as _;

/// The media type of what [`Exposition::finish`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of figures under the making. Names, help and labels are ours and need no escaping.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// A figure that only rises; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.line(name, value);
    }

    /// A figure that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(name, value);
    }

    /// One of several states: 1 for the one that is, 0 for the others.
    pub fn state(&mut self, name: &str, help: &str, states: &[&str], now: &str) {
        self.head(name, help, "gauge");
        for state in states {
            let line = format!("{name}{{state=\"{state}\"}}");
            self.line(&line, u64::from(*state == now));
        }
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: u64) {
        let _ = writeln!(self.0, "{name} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_a_scraper_reads() {
        let mut page = Exposition::default();
        page.counter("x_total", "How many.", 7);
        page.state("y", "Which.", &["up", "down"], "down");
        let expected = "# HELP x_total How many.\n# TYPE x_total counter\nx_total 7\n\
                        # HELP y Which.\n# TYPE y gauge\ny{state=\"up\"} 0\ny{state=\"down\"} 1\n";
        assert_eq!(page.finish(), expected);
    }
}
