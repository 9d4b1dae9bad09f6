//! Every key a configuration may have. The reader, the variables and the test of
//! `config/default.toml` all go by these lists.

/// Keys outside any table that hold one value or a list.
pub(super) const ROOT: &[&str] = &[
    "listen",
    "listen_uids",
    "health_listen",
    "admin_listen",
    "admin_allowed_hosts",
    "admin_allowed_origins",
    "default_server",
    "default_access",
    "default_user",
    "log",
    "log_format",
    "threads",
    "allowed_hosts",
    "allowed_origins",
    "key_prefixes",
    "setup_url",
    "drain_delay",
    "drain_timeout",
    "proxy_protocol",
    "trusted_proxies",
    "data_dir",
];

/// `[store]`
pub(super) const STORE: &[&str] = &[
    "url",
    "stale_for",
    "cache",
    "key_prefix",
    "ca_file",
    "sentinel_user",
    "sentinel_password",
    "cert_file",
    "key_file",
];

/// `[keyring]`
pub(super) const KEYRING: &[&str] = &["file", "env", "credential"];

/// `[tls]`
pub(super) const TLS: &[&str] = &["cert_file", "key_file", "client_ca_file"];

/// `[limits]`
pub(super) const LIMITS: &[&str] = &[
    "body",
    "in_flight",
    "user_in_flight",
    "headers",
    "list",
    "requests",
    "user_requests",
    "streams",
    "user_streams",
    "connections",
    "failed_keys",
    "user_rate",
    "user_burst",
    "user_daily",
    "key_rate",
    "key_burst",
    "key_daily",
    "rate_store_down",
    "read_timeout",
    "idle_timeout",
    "children",
    "user_children",
    "child_sessions",
    "child_message",
];

/// `[telemetry]`
pub(super) const TELEMETRY: &[&str] = &["otlp_endpoint", "service_name", "sample"];

/// `[static_keys.NAME]`
pub(super) const STATIC_KEY: &[&str] = &["sha256", "user", "profile"];

/// `[audit]`
pub(super) const AUDIT: &[&str] = &[
    "file",
    "stdout",
    "redis_stream",
    "redis_keep",
    "required",
    "sync",
    "anchors_for",
];

/// The tables with fixed keys.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("tls", TLS),
    ("store", STORE),
    ("keyring", KEYRING),
    ("limits", LIMITS),
    ("telemetry", TELEMETRY),
    ("audit", AUDIT),
];

/// `[servers.NAME]`: keys that hold one value.
pub(super) const SERVER: &[&str] = &[
    "url",
    "sse_url",
    "socket",
    "socket_uid",
    "ca_file",
    "connect_timeout",
    "answer_timeout",
    "discovery",
    "replicas",
    "command",
    "sandbox",
    "readable",
    "uid",
    "gid",
    "sleep",
    "start_timeout",
    "prewarm",
    "memory",
    "processes",
    "open_files",
];

/// `[servers.NAME.health_check]`
pub(super) const HEALTH_CHECK: &[&str] = &["every", "path"];

/// `[servers.NAME]`: tables of slots, whose keys are names of what a backend expects.
pub(super) const SLOTS: &[&str] = &["headers", "query", "arguments", "env"];

/// Keys of the whole file, tables included.
pub(super) fn root() -> Vec<&'static str> {
    let tables = SECTIONS
        .iter()
        .map(|(name, _)| *name)
        .chain(["servers", "static_keys"]);
    ROOT.iter().copied().chain(tables).collect()
}

/// Keys of `[servers.NAME]`, tables included.
pub(super) fn server() -> Vec<&'static str> {
    SERVER
        .iter()
        .chain(SLOTS)
        .chain(&["health_check"])
        .copied()
        .collect()
}

/// The candidate nearest to `text`, when it is near enough to have been meant.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if text.len() > 200 {
        return None;
    }
    let near = |candidate: &&str| {
        let most = (candidate.chars().count() / 3).clamp(1, 3);
        Some(distance(text, candidate)).filter(|distance| *distance <= most)
    };
    let found = candidates
        .into_iter()
        .filter_map(|c| near(&c).map(|distance| (distance, c)));
    found
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?" or nothing.
pub(super) fn hint<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, candidates).map_or(String::new(), |near| format!("; did you mean `{near}`?"))
}

/// How many characters must be added, removed, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i][j] = match (i, j) {
                (0, other) | (other, 0) => other,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
                    let swapped = i > 1
                        && j > 1
                        && left[i - 1] == right[j - 2]
                        && left[i - 2] == right[j - 1];
                    let by_swap = if swapped {
                        rows[i - 2][j - 2] + 1
                    } else {
                        usize::MAX
                    };
                    replaced
                        .min(by_swap)
                        .min(rows[i - 1][j] + 1)
                        .min(rows[i][j - 1] + 1)
                }
            };
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_meant() {
        let keys = root();
        for (typed, meant) in [
            ("lisen", Some("listen")),
            ("listne", Some("listen")),
            ("server", Some("servers")),
            ("default-server", Some("default_server")),
            ("lgo", Some("log")),
            ("x", None),
            ("timeout", None),
        ] {
            assert_eq!(nearest(typed, keys.iter().copied()), meant, "{typed}");
        }
        assert_eq!(nearest("ur", server()), Some("url"));
    }
}
