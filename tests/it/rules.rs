//! The rules of the house, through the real binary, each with the mutation that makes its test fail.
//! Rule 1 is in `mix_up`, 7 in `revocation`, 10 in `canary`; 5 is kept by types.

mod headers;
mod ids;
mod limits;
mod secrets;

use crate::support::proxy::{Lines, Place, Proxy};

/// A proxy on SQLite.
async fn start(slots: Option<&str>, servers: &[(&str, String)]) -> Proxy {
    let lines = Lines {
        slots,
        ..Lines::default()
    };
    Proxy::start(&Place::Sqlite, &lines, servers).await
}
