//! The rules of the house, through the real binary, each with the mutation that makes its test fail.
//! Which tests hold which rule; `wire` is the other binary, `tests/wire`, which minds every byte:
//!
//! | rule | tests |
//! |---|---|
//! | 1 nobody gets another's answer | `mix_up`; `wire`: `views`, `legacy`, `trouble::a_connection_that_stays_open_is_used_again_by_its_user_only` |
//! | 2 every request authenticates, ids do not | `ids`, `revocation::streams`; `wire`: `sessions`, `tasks`, `legacy::a_message_path_is_nobody_elses_and_authenticates_nobody` |
//! | 3 what passes to a backend and to a client | `headers`, `desync`, `pages`; `wire`: `input::trailers_and_what_the_client_may_not_say_stay_here`, `legacy::a_stream_that_leads_elsewhere_or_nowhere_is_refused`, `trouble::redirects_are_not_followed_nor_passed_on` |
//! | 4 a client cannot set what a slot sets | `headers::what_a_slot_sets_a_client_cannot`; `wire`: `arguments` |
//! | 5 secrets are plaintext while needed only | kept by types |
//! | 6 errors deny | `secrets`; `wire`: `setup`, `arguments::everybody_and_every_tool_gets_its_own`, `legacy::a_refused_message_is_answered_where_its_sender_listens` |
//! | 7 revocation is bounded | `revocation`, with `revocation::streams` for what is under way and `revocation::outage` for a store out of reach |
//! | 8 the body is judged whole or refused | `limits`; `wire`: `input::bodies_are_judged_whole_or_refused`, `arguments::a_call_that_cannot_be_injected_goes_nowhere` |
//! | 9 a backend is as untrusted as a client | `limits::limits_hold_to_the_byte`, `headers`; `wire`: `streams`, `trouble` |
//! | 10 no secret or key is shown | `canary`, with `canary::every_slot` for arguments, queries, profiles and HTTP+SSE |

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
