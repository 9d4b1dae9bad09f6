//! What goes over the wire: the real binary between clients and backends that mind every byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arguments;
mod gate;
mod hostile;
mod input;
mod layer;
mod legacy;
mod mirrored;
mod modern;
mod sessions;
mod setup;
mod stop;
mod streams;
mod support;
mod tasks;
mod trouble;
mod views;
