//! What goes over the wire: the real binary between clients and backends that mind every byte.

mod input;
mod modern;
mod sessions;
mod stop;
mod streams;
mod support;
mod trouble;
