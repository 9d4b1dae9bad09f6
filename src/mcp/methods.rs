//! The methods of MCP, over all revisions, for whoever names or counts requests: a client may write any
//! text there.

/// Those of clients and those of servers, whose answers and notifications pass here too.
const METHODS: &[&str] = &[
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/initialized",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "notifications/tools/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
];

/// The method as a name that may be shown and counted by: `other` for what is no method of MCP.
#[must_use]
pub fn shown(method: &str) -> &'static str {
    // One after the other: nearly all differ in their lengths already.
    let found = METHODS.iter().find(|known| **known == method);
    found.copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_method_is_not_shown() {
        for method in METHODS {
            assert_eq!(shown(method), *method);
        }
        for method in ["", "tools", "tools/call ", "clk_x", "TOOLS/CALL"] {
            assert_eq!(shown(method), "other");
        }
    }
}
