//! The private folders of children: one per server, user and profile.

use std::path::PathBuf;

use super::Owner;
use super::settings::Settings;

/// The folder of the children of `owner`: `SERVER/USER/@PROFILE`, the user by its id.
pub(super) fn of(settings: &Settings, owner: &Owner) -> PathBuf {
    let profile = format!("@{}", owner.profile);
    settings
        .folder
        .join(owner.server.as_str())
        .join(owner.user.to_string())
        .join(profile)
}
