//! The window that is measured, and what was found in it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use cloakroom_peers::clock;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::process::{self, Thread};

const LONGEST: u64 = 60_000_000_000;

/// What is measured: latencies and the CPU time of the watched processes, between two moments.
pub struct Window {
    /// When it begins.
    pub begin: u64,
    /// When it ends.
    pub end: u64,
    pids: Vec<u32>,
    cpu: [Option<BTreeMap<Thread, u64>>; 2],
    times: [u64; 2],
    latencies: Histogram<u64>,
    /// Requests or events that were completed within it.
    pub completed: u64,
    /// Answers that were wrong, at any time.
    pub wrong: u64,
    /// Connections that ended, at any time.
    pub ended: u64,
    first_wrong: Option<String>,
}

impl Window {
    /// A window that begins `warmup` seconds from now.
    pub fn new(pids: &[u32], warmup: f64, seconds: f64) -> io::Result<Self> {
        let begin = clock::now() + clock::nanos(Duration::from_secs_f64(warmup));
        Ok(Self {
            begin,
            end: begin + clock::nanos(Duration::from_secs_f64(seconds)),
            pids: pids.to_vec(),
            cpu: [None, None],
            times: [0; 2],
            latencies: Histogram::new_with_max(LONGEST, 3).map_err(io::Error::other)?,
            completed: 0,
            wrong: 0,
            ended: 0,
            first_wrong: None,
        })
    }

    /// Whether that moment is within.
    pub fn contains(&self, moment: u64) -> bool {
        (self.begin..self.end).contains(&moment)
    }

    /// Reads the CPU time when the window begins and when it ends; how long until the next of the two.
    pub fn look(&mut self, now: u64) -> Option<u64> {
        for (index, at) in [self.begin, self.end].into_iter().enumerate() {
            if self.cpu[index].is_some() {
                continue;
            }
            if now < at {
                return Some(at - now);
            }
            self.cpu[index] = Some(process::cpu(&self.pids));
            self.times[index] = now;
        }
        None
    }

    /// Ends it now.
    pub fn close(&mut self, now: u64) {
        self.end = now;
        self.look(now);
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.cpu[1].is_some()
    }

    /// Counts a latency.
    pub fn record(&mut self, latency: u64) {
        self.latencies.saturating_record(latency);
    }

    /// Counts an answer that is wrong.
    pub fn wrong(&mut self, what: String) {
        self.wrong += 1;
        self.first_wrong.get_or_insert(what);
    }

    /// What was found; times in microseconds, memory in KiB.
    pub fn report(&self) -> Value {
        let seconds = (self.times[1] - self.times[0]) as f64 / 1e9;
        let threads = self.threads();
        let cpu: u64 = threads.iter().map(|(_, cpu)| cpu).sum();
        let thread =
            |(name, cpu): &(&str, u64)| json!({ "name": name, "cpu_us": *cpu as f64 / 1e3 });
        let quantile = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;
        json!({
            "seconds": seconds,
            "completed": self.completed,
            "per_second": self.completed as f64 / seconds,
            "cpu_us": cpu as f64 / 1e3,
            "cpu_us_each": cpu as f64 / 1e3 / self.completed.max(1) as f64,
            "cpu_share": cpu as f64 / 1e9 / seconds,
            "threads": threads.iter().map(thread).collect::<Vec<_>>(),
            "measured": self.latencies.len(),
            "p50": quantile(0.5),
            "p90": quantile(0.9),
            "p99": quantile(0.99),
            "p999": quantile(0.999),
            "max": self.latencies.max() as f64 / 1e3,
            "wrong": self.wrong,
            "ended": self.ended,
            "first_wrong": self.first_wrong,
            "memory": process::memory(&self.pids),
        })
    }

    /// The CPU time of each thread within the window, the busiest first. One that has ended is left out.
    fn threads(&self) -> Vec<(&str, u64)> {
        let [Some(before), Some(after)] = &self.cpu else {
            return Vec::new();
        };
        let used = |(thread, cpu)| -> (_, u64) {
            let (thread, cpu): (&Thread, &u64) = (thread, cpu);
            let earlier = before.get(thread).copied().unwrap_or_default();
            (thread.name.as_str(), cpu.saturating_sub(earlier))
        };
        let mut threads: Vec<_> = after
            .iter()
            .map(used)
            .filter(|(_, used)| *used > 0)
            .collect();
        threads.sort_unstable_by(|(_, one), (_, other)| other.cmp(one));
        threads
    }
}
