//! The hosts and origins by which the admin API may be called.

use super::listen::Listen;
use super::reader::Section;
use super::{LoopbackNames, values};

const HOSTS: &str = "admin_allowed_hosts";
const ORIGINS: &str = "admin_allowed_origins";

pub(super) struct AdminNames {
    pub(super) hosts: Vec<String>,
    /// None unless said: no web page calls the API.
    pub(super) origins: Vec<String>,
}

/// `listen` is none when the API is not served, or its address is wrong.
pub(super) fn read(root: &Section<'_>, listen: Option<&Listen>) -> Option<AdminNames> {
    const EXAMPLE: &str = "[\"admin.example.com\"]";
    let hosts = if root.has(HOSTS) {
        root.list(HOSTS, EXAMPLE, values::host)
    } else if listen.is_some_and(|listen| !listen.is_local()) {
        let message = format!(
            "must be set, since `admin_listen` is not a loopback address; write the names by which \
             administrators reach it: {HOSTS} = {EXAMPLE}"
        );
        root.fail_because_of("admin_listen", HOSTS, message);
        None
    } else {
        Some(LoopbackNames::hosts())
    };
    let origins = if root.has(ORIGINS) {
        root.list(ORIGINS, "[\"https://admin.example.com\"]", values::origin)
    } else {
        Some(Vec::new())
    };
    let (hosts, origins) = (hosts?, origins?);
    if hosts.is_empty() {
        let message = "is empty, so every request would be refused; write a name";
        root.fail(HOSTS, message);
        return None;
    }
    Some(AdminNames { hosts, origins })
}
