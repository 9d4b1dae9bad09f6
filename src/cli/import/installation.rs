//! `import` of what `export` wrote: read twice, so that nothing is done before all of it was found whole.

use std::collections::BTreeSet;
use std::io::{BufReader, Seek as _, SeekFrom};

use super::super::acts::Record;
use super::super::{Failure, Output, export, input};
use super::planned::Planned;
use super::report::Report;
use super::{ImportArgs, Kind, Work, how, opened, unreadable};
use crate::config::Config;
use crate::moving::{self, Entry, FileError, GroupDraft, Groups, Refusal, Refused, Summary};
use crate::names::GroupName;
use crate::vault::{GroupId, PassphraseReader, SECRETS_MAX, Vault, VaultError};

/// Entries read ahead of what is being done.
const AHEAD: usize = 64;

pub(super) async fn run(
    args: &ImportArgs,
    config: &Config,
    vault: &Vault,
    record: &mut Record<'_>,
    report: &mut Report,
    out: &Output,
) -> Result<(), Failure> {
    let mut file = opened(&args.file)?;
    let passphrase = input::hidden("Passphrase of the file (not shown): ")?;
    let bad = |error: FileError| Failure::new(format!("{}: {error}", args.file.display()));
    let mut planned = Planned::default();
    let mut servers = BTreeSet::new();
    let mut total = 0;
    moving::read(
        BufReader::new(PassphraseReader::new(&file, &passphrase)?),
        |entry| {
            let sets = match &entry {
                Entry::Group(group) => {
                    planned.group(&group.name);
                    &group.sets
                }
                Entry::User(draft) => {
                    planned.user(draft);
                    &draft.sets
                }
            };
            servers.extend(sets.iter().map(|set| set.server.clone()));
            total += 1;
            Ok(())
        },
    )
    .map_err(bad)?;
    for server in servers
        .iter()
        .filter(|server| !config.servers.contains_key(*server))
    {
        report.note(format!(
            "no server of the configuration is called `{server}`: its secrets are kept, and go nowhere yet"
        ));
    }
    report.note(export::NOT_INSIDE);
    if !args.dry_run {
        record.begin(planned.deed(args, Kind::Cloakroom)).await?;
    }
    file.seek(SeekFrom::Start(0))
        .map_err(|why| unreadable(&args.file, &why))?;
    let again = PassphraseReader::new(file, &passphrase)?;
    let (to, mut entries) = tokio::sync::mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        moving::read(BufReader::new(again), |entry| {
            let gone = |_| FileError::from(std::io::ErrorKind::BrokenPipe);
            to.blocking_send(entry).map_err(gone)
        })
    });
    let mut work = Work {
        vault,
        how: how(args, config),
        dry_run: args.dry_run,
        clients: None,
        groups: Groups::Brought(BTreeSet::new()),
    };
    let progress = super::Progress::new(out, "importing");
    let mut done = 0;
    while let Some(entry) = entries.recv().await {
        match entry {
            Entry::Group(group) => take_group(&mut work, group, report).await,
            Entry::User(draft) => work.take(*draft, report).await,
        }
        done += 1;
        progress.at(done, total);
    }
    progress.end();
    let read = reading
        .await
        .map_err(|_| Failure::new("this process is ending"))?;
    // It was whole a moment ago.
    read.map_err(bad)
}

async fn take_group(work: &mut Work<'_>, group: GroupDraft, report: &mut Report) {
    let (at, name) = (group.at.clone(), group.name.clone());
    let row = format!("group {name}");
    match group_tried(work, group).await {
        Ok(summary) => {
            if summary.result == "unchanged" {
                report.note(format!(
                    "the group `{name}` was here already and stays as it is: users of the file who join it have what \
                     it allows and shares here"
                ));
            }
            report.done(&at, &row, summary, None);
            if let Groups::Brought(brought) = &mut work.groups {
                brought.insert(name);
            }
        }
        Err(why) => report.refused(Refused { at, name: row, why }),
    }
}

async fn group_tried(work: &Work<'_>, group: GroupDraft) -> Result<Summary, Refusal> {
    let vault = work.vault;
    let existing = match vault.group(&group.name).await {
        Ok(_) if !work.how.merge => {
            let why = VaultError::GroupExists(group.name);
            return Err(Refusal::new(format!(
                "{why}: add --merge to keep it as it is, and put users of the file into it"
            )));
        }
        Ok(existing) => Some(existing),
        Err(VaultError::NoGroup(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(set) = group.sets.iter().find(|set| !vault.covers(&set.server)) {
        return Err(VaultError::NoServerKey(set.server.clone()).into());
    }
    if group.sets.iter().any(|set| set.values.len() > SECRETS_MAX) {
        return Err(VaultError::TooManySecrets.into());
    }
    let names = group.sets.iter().flat_map(|set| {
        let name = move |name| format!("{}.{name}", set.server);
        set.values.iter().map(move |(secret, _)| name(secret))
    });
    let mut names = names.collect::<Vec<_>>();
    let (mut secrets, mut kept) = (Vec::new(), Vec::new());
    match &existing {
        Some(existing) => {
            let differs = existing.record.access != group.access;
            kept.extend(differs.then(|| "access".to_owned()));
            kept.append(&mut names);
        }
        None => secrets = names,
    }
    let summary = Summary {
        result: if existing.is_some() {
            "unchanged"
        } else {
            "added"
        },
        keys: Vec::new(),
        secrets,
        kept,
        groups: Vec::new(),
        fields: Vec::new(),
        revoked: Vec::new(),
        issues: false,
    };
    if existing.is_none() && !work.dry_run {
        let added = vault
            .add_group(&group.name, group.description.clone(), group.access.clone())
            .await?;
        if let Err(error) = fill_group(vault, added.id, &group).await {
            return Err(taken_back(vault, added.id, &group.name, error).await);
        }
    }
    Ok(summary)
}

async fn fill_group(vault: &Vault, id: GroupId, group: &GroupDraft) -> Result<(), VaultError> {
    for set in &group.sets {
        vault
            .set_secrets(&group.name, id, &set.server, &set.profile, &set.values)
            .await?;
    }
    Ok(())
}

async fn taken_back(vault: &Vault, id: GroupId, name: &GroupName, error: VaultError) -> Refusal {
    match vault.delete_group_by_id(name, &id).await {
        Ok(()) => error.into(),
        Err(left) => Refusal::partly(format!(
            "{error}; and it could not be undone ({left}): cloakroom group delete {name}"
        )),
    }
}
