//! The state of our own question for a missing secret (MRTR, MCP 2026-07-28 basic/patterns/mrtr).

use super::{Holder, MAX_SEALED, decode, encode};
use crate::vault::Sealer;

const PURPOSE: &str = "mcp setup state";

/// The `requestState` of a question of ours. It says that we asked this user for this server and
/// profile, and grants nothing: whoever brings it back is judged by his key like anybody, and gets his
/// own secrets. So it needs no expiry and is bound to no arguments.
#[must_use]
pub fn seal_setup(sealer: &Sealer, holder: &Holder<'_>) -> String {
    encode(&sealer.seal(PURPOSE, &holder.context(), b""))
}

/// Whether a `requestState` is of a question of ours; any other is the backend's.
#[must_use]
pub fn is_setup(sealer: &Sealer, holder: &Holder<'_>, state: &str) -> bool {
    state.len() <= MAX_SEALED
        && decode(state.as_bytes())
            .is_some_and(|sealed| sealer.open(PURPOSE, &holder.context(), &sealed).is_some())
}
