//! `export`: everything another installation needs, in one file under a passphrase.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _};
use std::path::Path;

use serde_json::json;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::open::{self, Source};
use super::progress::Progress;
use super::{Failure, Output, input};
use crate::moving;
use crate::names::{GroupName, UserName};
use crate::vault::{PassphraseWriter, User, Vault};

/// Users and groups read at once.
const PAGE: usize = 256;
/// What people have to know of such a file.
pub(super) const NOT_INSIDE: &str = "keys of administrators are not in it, nor usage and the audit trail: issue \
                                     new ones with `cloakroom admin key issue`";

pub(super) async fn run(file: &Path, from: &Source, out: &Output) -> Result<(), Failure> {
    let exists = || {
        let file = file.display();
        Failure::new(format!(
            "{file} exists already and is not overwritten: name a new file"
        ))
    };
    // Before asking: nobody should think of a passphrase for nothing.
    if fs::symlink_metadata(file).is_ok() {
        return Err(exists());
    }
    let vault = open::vault(&from.load()?).await?;
    let not_writable = |why: io::Error| {
        // The kind alone: the words name a file nobody knows.
        Failure::new(format!(
            "{} cannot be written: {}",
            file.display(),
            why.kind()
        ))
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let draft =
        NamedTempFile::with_prefix_in(".cloakroom-export-", folder).map_err(not_writable)?;
    let passphrase = passphrase()?;
    let mut to = PassphraseWriter::new(BufWriter::new(draft), &passphrase)?;
    let progress = Progress::new(out, "exporting");
    let written = write(&vault, &mut to, &progress).await;
    progress.end();
    let (groups, users) = written?;
    let moved = || -> io::Result<u64> {
        let draft = to
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        draft.as_file().sync_all()?;
        draft.persist_noclobber(file).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()?;
        Ok(fs::metadata(file)?.len())
    };
    let bytes = moved().map_err(|why| match why.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => not_writable(why),
    })?;
    let document = json!({ "file": file, "users": users, "groups": groups, "bytes": bytes });
    let text = format!(
        "wrote {}: {users} users, {groups} groups, {bytes} bytes\n",
        file.display()
    );
    out.answer(&document, &text)?;
    out.note(NOT_INSIDE);
    out.note("whoever has the file and the passphrase has every secret: keep the two apart, and delete it");
    Ok(())
}

/// Twice from a person, who could not open the file after a slip.
fn passphrase() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let first = input::hidden("A passphrase for the file (not shown): ")?;
    if io::stdin().is_terminal() && *input::hidden("The same again: ")? != *first {
        return Err(Failure::new(
            "the two are not the same: nothing was written",
        ));
    }
    Ok(first)
}

async fn write(
    vault: &Vault,
    to: &mut PassphraseWriter<BufWriter<NamedTempFile>>,
    progress: &Progress<'_>,
) -> Result<(u64, u64), Failure> {
    let failed = |why: io::Error| Failure::new(format!("the file cannot be written: {why}"));
    moving::write_start(to).map_err(failed)?;
    let mut names = BTreeMap::new();
    let mut after = None;
    loop {
        let page = vault.groups(after.as_ref(), PAGE).await?;
        for group in &page {
            let name = GroupName::parse(&group.record.name).map_err(Failure::new)?;
            let sets = vault.expose_secrets(&name).await?;
            moving::write_group(to, group, &sets).map_err(failed)?;
            names.insert(group.id.to_string(), name.to_string());
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => break,
        }
    }
    let mut users = 0;
    let mut after = None;
    loop {
        let page = vault.users(after.as_ref(), PAGE).await?;
        for user in &page {
            write_user(vault, to, user, &names).await?;
            users += 1;
            progress.at(users, 0);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => break,
        }
    }
    let groups = names.len() as u64;
    moving::write_end(to, groups, users).map_err(failed)?;
    Ok((groups, users))
}

async fn write_user(
    vault: &Vault,
    to: &mut PassphraseWriter<BufWriter<NamedTempFile>>,
    user: &User,
    names: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let name = UserName::parse(&user.record.name).map_err(Failure::new)?;
    let keys = vault.keys(&name).await?;
    let sets = vault.expose_secrets(&name).await?;
    let groups = user.record.groups.iter().map(|id| {
        let gone = || {
            Failure::new(format!(
                "{name} is in a group that is not there: it was made or deleted just now; run it again"
            ))
        };
        names.get(&id.to_string()).cloned().ok_or_else(gone)
    });
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    moving::write_user(to, user, groups, &keys, &sets)
        .map_err(|why| Failure::new(format!("the file cannot be written: {why}")))
}
