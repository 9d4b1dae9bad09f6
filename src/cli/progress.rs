//! How far a long command is: a bar for who watches, a line now and then for a log.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Output;

/// How often a log is told.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// While the total is not known, and once it is.
const COUNT: &str = "{msg} {spinner} {human_pos}  {elapsed}";
const BAR: &str = "{msg} [{bar:32}] {human_pos} of {human_len}  {eta}";

/// Shows on standard error how far something is; never touches standard output.
pub(super) struct Progress<'a> {
    out: &'a Output,
    what: String,
    way: Way,
}

enum Way {
    /// A person watches.
    Bar(ProgressBar),
    /// A file, a pipe, or a program that asked for a document.
    Lines(Mutex<Lines>),
}

/// What was said, and what there is to say.
struct Lines {
    last: Instant,
    said: Option<(u64, u64)>,
    now: Option<(u64, u64)>,
}

impl<'a> Progress<'a> {
    /// `what` is done, in one word or two, such as "copying".
    pub(super) fn new(out: &'a Output, what: &str) -> Self {
        let way = if !out.json() && io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            Way::Bar(bar.with_style(style(COUNT)).with_message(what.to_owned()))
        } else {
            Way::Lines(Mutex::new(Lines::new(Instant::now())))
        };
        let what = what.to_owned();
        Self { out, what, way }
    }

    /// So much is done of so much; a total of 0 is one nobody knows yet.
    pub(super) fn at(&self, done: u64, total: u64) {
        match &self.way {
            Way::Bar(bar) => {
                if total > 0 && bar.length() != Some(total) {
                    bar.set_style(style(BAR));
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            Way::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                let line = lines.at((done, total), Instant::now());
                self.say(line);
            }
        }
    }

    /// It is over, well or not: the bar goes, a log is told the last figures.
    pub(super) fn end(self) {
        match &self.way {
            Way::Bar(bar) => bar.finish_and_clear(),
            Way::Lines(lines) => {
                let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                self.say(lines.end());
            }
        }
    }

    fn say(&self, line: Option<(u64, u64)>) {
        match line {
            Some((done, 0)) => self.out.note(&format!("{}: {done}", self.what)),
            Some((done, total)) => self.out.note(&format!("{}: {done} of {total}", self.what)),
            None => {}
        }
    }
}

impl Lines {
    /// What takes less than one interval is told once, at its end.
    fn new(begun: Instant) -> Self {
        Self {
            last: begun,
            said: None,
            now: None,
        }
    }

    /// What to say now.
    fn at(&mut self, figures: (u64, u64), now: Instant) -> Option<(u64, u64)> {
        self.now = Some(figures);
        if now.duration_since(self.last) < LINE_EVERY {
            return None;
        }
        self.last = now;
        self.said = self.now;
        self.said
    }

    /// What to say at the end: the last figures, unless they were said.
    fn end(&self) -> Option<(u64, u64)> {
        self.now.filter(|_| self.now != self.said)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_at_most_every_interval_and_once_at_the_end() {
        let begun = Instant::now();
        let mut lines = Lines::new(begun);
        assert_eq!(lines.end(), None, "nothing was done");
        assert_eq!(lines.at((1, 9), begun + LINE_EVERY / 2), None);
        assert_eq!(lines.end(), Some((1, 9)));
        assert_eq!(lines.at((2, 9), begun + LINE_EVERY), Some((2, 9)));
        assert_eq!(lines.end(), None, "it was said");
        assert_eq!(
            lines.at((3, 9), begun + LINE_EVERY * 2 - Duration::from_millis(1)),
            None
        );
        assert_eq!(lines.at((4, 9), begun + LINE_EVERY * 2), Some((4, 9)));
    }

    #[test]
    fn the_templates_are_sound() {
        for template in [COUNT, BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
