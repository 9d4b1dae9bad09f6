//! `import`: the file is read whole and judged, then done user by user.

mod args;
mod clients;
mod installation;
mod planned;
mod report;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

pub(super) use args::ImportArgs;
use args::Kind;
use clients::Clients;
use planned::Planned;
use report::Report;

use super::acts::Record;
use super::open::{self, Source};
use super::progress::Progress;
use super::{Failure, Output};
use crate::config::{Config, DefaultAccess};
use crate::inject::Place;
use crate::moving::{
    self, Delivery, Draft, Groups, How, Issue, Names, Parsed, Refusal, Refused, Servers, Summary,
};
use crate::vault::{PassphraseReader, Vault};

/// The largest file, in bytes.
const FILE_MAX: u64 = 512 << 20;

pub(super) async fn run(
    args: &ImportArgs,
    from: &Source,
    record: &mut Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let kind = kind(args)?;
    let config = from.load()?;
    let mut report = Report::new(args.dry_run);
    if kind == Kind::Cloakroom {
        let vault = open::vault(&config).await?;
        let done = installation::run(args, &config, &vault, record, &mut report, out).await;
        report.learned(record);
        // Where it stopped on the way, what was done until then is done.
        if done.is_err() && report.is_empty() {
            return done;
        }
        let told = report.tell(out);
        return done.and(told);
    }
    let parsed = parse(args, kind, &config)?;
    for note in parsed.notes {
        report.note(note);
    }
    for refused in parsed.refused {
        report.refused(refused);
    }
    let prefix = match kind {
        Kind::Gateway => Some("mcpgw_"),
        Kind::Mappings => Some("usr_"),
        Kind::Csv | Kind::Cloakroom => None,
    };
    if let Some(prefix) = prefix
        && !config
            .key_prefixes
            .iter()
            .any(|known| prefix.starts_with(known.as_str()))
    {
        report.note(format!(
            "keys of that system begin with {prefix} and are refused until the configuration says \
             key_prefixes = [\"{prefix}\"]"
        ));
    }
    let makes_files = kind == Kind::Csv && !args.no_keys;
    let clients = makes_files
        .then(|| Clients::new(args, &config, out))
        .transpose()?;
    if !args.dry_run {
        let planned = Planned::of(&parsed.drafts);
        record.begin(planned.deed(args, kind)).await?;
    }
    let vault = open::vault(&config).await?;
    let work = Work {
        vault: &vault,
        how: how(args, &config),
        dry_run: args.dry_run,
        clients: clients.as_ref(),
        groups: Groups::Here,
    };
    let progress = Progress::new(out, "importing");
    let total = parsed.drafts.len() as u64;
    for (index, draft) in parsed.drafts.into_iter().enumerate() {
        work.take(draft, &mut report).await;
        progress.at(index as u64 + 1, total);
    }
    progress.end();
    report.learned(record);
    report.tell(out)
}

fn kind(args: &ImportArgs) -> Result<Kind, Failure> {
    let kind = match args.from {
        Some(kind) => kind,
        None if is_ours(&args.file)? => Kind::Cloakroom,
        None => {
            return Err(Failure::usage(
                "say what the file is: --from gateway-json, mappings-csv or csv",
            ));
        }
    };
    if kind != Kind::Mappings && !args.map.is_empty() {
        return Err(Failure::usage("--map is for --from mappings-csv"));
    }
    Ok(kind)
}

fn is_ours(path: &Path) -> Result<bool, Failure> {
    let mut beginning = Vec::new();
    let mut file = opened(path)?.take(64);
    file.read_to_end(&mut beginning)
        .map_err(|why| unreadable(path, &why))?;
    Ok(PassphraseReader::<File>::is_one(&beginning))
}

fn opened(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|why| unreadable(path, &why))
}

fn unreadable(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be read: {why}", path.display()))
}

/// The whole file, into a buffer of its size: one that grows would leave copies behind.
fn whole(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let file = opened(path)?;
    let len = file.metadata().map_err(|why| unreadable(path, &why))?.len();
    let large = || {
        Failure::new(format!(
            "{} is larger than 512 MiB: split it",
            path.display()
        ))
    };
    if len > FILE_MAX {
        return Err(large());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(len as usize + 1));
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| unreadable(path, &why))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(large());
    }
    Ok(bytes)
}

fn parse(args: &ImportArgs, kind: Kind, config: &Config) -> Result<Parsed, Failure> {
    let bytes = whole(&args.file)?;
    let names = Names {
        rename: args.rename.iter().cloned().collect(),
        lowercase: args.lowercase,
    };
    let servers = servers(config);
    let issue = if args.no_keys {
        Issue::Nothing
    } else {
        Issue::Key
    };
    let parsed = match kind {
        Kind::Gateway => moving::gateway(&bytes, &names, &servers, now()),
        Kind::Mappings => moving::mappings(&bytes, &names, &servers, &args.map),
        Kind::Csv => moving::batch(&bytes, &names, &servers, issue),
        Kind::Cloakroom => unreachable!("an installation's file is read another way"),
    };
    parsed.map_err(|error| Failure::new(format!("{}: {error}", args.file.display())))
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

fn how(args: &ImportArgs, config: &Config) -> How {
    How {
        merge: args.merge,
        overwrite_secrets: args.overwrite_secrets,
        allows_all: config.people.default_access == DefaultAccess::All,
    }
}

/// What the slots of the configured servers take.
fn servers(config: &Config) -> Servers {
    let mut servers = Servers::default();
    for (name, server) in &config.servers {
        let slots = &server.slots;
        let in_headers: BTreeSet<_> = slots
            .iter()
            .filter(|slot| matches!(slot.place, Place::Header(_)))
            .flat_map(|slot| slot.template.secrets().cloned())
            .collect();
        let all = slots.secret_names().into_iter().cloned().collect();
        servers.add(
            name.clone(),
            in_headers,
            (!slots.merges_all()).then_some(all),
        );
    }
    servers
}

/// What is the same for every user.
struct Work<'a> {
    vault: &'a Vault,
    how: How,
    dry_run: bool,
    clients: Option<&'a Clients>,
    groups: Groups,
}

impl Work<'_> {
    /// Does one user, and says so.
    async fn take(&self, draft: Draft, report: &mut Report) {
        let (at, name) = (draft.at.clone(), draft.name.clone());
        match self.tried(draft).await {
            Ok(summary) => {
                let clients = self.clients.filter(|_| summary.issues);
                let file = clients.map(|clients| clients.path(&name).display().to_string());
                report.done(&at, name.as_str(), summary, file);
            }
            Err(why) => report.refused(Refused {
                at,
                name: name.to_string(),
                why,
            }),
        }
    }

    async fn tried(&self, draft: Draft) -> Result<Summary, Refusal> {
        let name = draft.name.clone();
        let plan = moving::plan(self.vault, draft, self.how, &self.groups).await?;
        let summary = plan.summary().clone();
        let clients = self.clients.filter(|_| summary.issues);
        if let Some(clients) = clients {
            clients.check(&name)?;
        }
        if !self.dry_run {
            let delivery = clients.map(|clients| clients as &dyn Delivery);
            plan.carry_out(self.vault, delivery).await?;
        }
        Ok(summary)
    }
}
