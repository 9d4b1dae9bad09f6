//! What an operator sees: the page of metrics, the log, traces.

mod lines;
mod page;
mod parser;
mod traces;
