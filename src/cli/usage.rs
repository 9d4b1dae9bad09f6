//! `usage`

use serde_json::{Value, json};

use super::args::UsageArgs;
use super::open::{self, Source};
use super::output::{date, row, table};
use super::{Failure, Output};
use crate::usage::csv;
use crate::vault::{Use, UserId, Vault};

/// Users read at once.
const PAGE: usize = 500;
/// Rows of a table; more are for --csv and --json.
const ROWS: usize = 1000;

pub(super) async fn run(args: &UsageArgs, from: &Source, out: &Output) -> Result<(), Failure> {
    let vault = open::vault(&from.load()?).await?;
    let used = match &args.user {
        Some(name) => {
            let user = vault.user(name).await?;
            let uses = vault.usage_of(&user.id).await?;
            vec![(user.record.name, uses)]
        }
        None => everybody(&vault).await?,
    };
    if args.csv && !out.json() {
        let rows = used
            .iter()
            .flat_map(|(user, uses)| uses.iter().map(move |one| (&**user, one)));
        return out.answer(&Value::Null, &csv(rows));
    }
    let rows = used
        .iter()
        .flat_map(|(user, uses)| uses.iter().map(move |one| (user, one)));
    let documents: Vec<_> = rows
        .clone()
        .map(|(user, one)| document(user, one))
        .collect();
    let mut lines = vec![row([
        "USER", "KEY", "SERVER", "REQUESTS", "ERRORS", "LAST", "ADDRESS", "CLIENT",
    ])];
    lines.extend(rows.take(ROWS).map(|(user, one)| {
        row([
            user,
            &one.key,
            &one.server,
            &one.requests.to_string(),
            &one.errors.to_string(),
            &date(one.last),
            &one.address
                .map_or("-".to_owned(), |address| address.to_string()),
            one.client.as_deref().unwrap_or("-"),
        ])
    }));
    if documents.len() > ROWS {
        out.note(&format!(
            "only the first {ROWS} rows are shown; --csv or --json shows all"
        ));
    }
    out.answer(&json!({ "usage": documents }), &table(&lines))
}

async fn everybody(vault: &Vault) -> Result<Vec<(String, Vec<Use>)>, Failure> {
    let mut all = Vec::new();
    let mut last: Option<UserId> = None;
    loop {
        let page = vault.usage(last.as_ref(), PAGE).await?;
        let ended = page.len() < PAGE;
        last = page.last().map(|used| used.user.id);
        let used = page.into_iter().filter(|used| !used.uses.is_empty());
        all.extend(used.map(|used| (used.user.record.name, used.uses)));
        if ended {
            all.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(all);
        }
    }
}

fn document(user: &str, one: &Use) -> Value {
    json!({
        "user": user, "key": one.key, "server": one.server,
        "requests": one.requests, "errors": one.errors,
        "first_seen": date(one.first), "last_seen": date(one.last),
        "address": one.address, "client": one.client,
    })
}
