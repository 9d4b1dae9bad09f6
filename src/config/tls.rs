//! `[tls]`: the certificate the listener shows.

use std::path::{Path, PathBuf};

use super::listen::Listen;
use super::reader::Section;
use super::reader::optional;
use super::{keys, values};
use crate::tls::ServerFiles;

/// The outer `None` is an error, the inner one a listener without TLS.
#[allow(clippy::option_option, reason = "a mistake is not the same as no TLS")]
pub(super) fn read(
    root: &Section<'_>,
    listen: Option<&Listen>,
    folder: &Path,
) -> Option<Option<ServerFiles>> {
    if !root.has("tls") {
        return Some(None);
    }
    let section = root.section("tls", keys::TLS)?;
    let used = keys::TLS.iter().find(|key| section.has(key));
    if let (Some(key), Some(Listen::Unix(_))) = (used, listen) {
        let message = "a Unix socket has no TLS: nobody but the two processes sees what passes; \
                       remove it, or listen on an address";
        section.fail_key(key, message);
        return None;
    }
    let file = |key, example| {
        optional(&section, key, |value| {
            values::pem_file(value, example, folder)
        })
    };
    let cert_file = file("cert_file", "tls.crt");
    let key_file = file("key_file", "tls.key");
    let client_ca_file = file("client_ca_file", "client-ca.pem");
    let pair = pair(&section, cert_file, key_file);
    match (pair?, client_ca_file?) {
        (Some((cert_file, key_file)), client_ca_file) => Some(Some(ServerFiles {
            cert_file,
            key_file,
            client_ca_file,
        })),
        (None, None) => Some(None),
        (None, Some(_)) => {
            let message = "needs `cert_file` and `key_file` too: clients show a certificate only to a \
                           server that shows one";
            section.fail_key("client_ca_file", message);
            None
        }
    }
}

/// A certificate and its private key: both or neither. The outer `None` is an error, told already or
/// told here.
#[allow(clippy::option_option, reason = "a mistake is not the same as neither")]
pub(super) fn pair(
    section: &Section<'_>,
    cert_file: Option<Option<PathBuf>>,
    key_file: Option<Option<PathBuf>>,
) -> Option<Option<(PathBuf, PathBuf)>> {
    match (cert_file?, key_file?) {
        (None, None) => Some(None),
        (Some(cert_file), Some(key_file)) => Some(Some((cert_file, key_file))),
        (Some(_), None) => {
            let message = "needs `key_file` too: the path of its private key";
            section.fail_key("cert_file", message);
            None
        }
        (None, Some(_)) => {
            let message = "needs `cert_file` too: the path of the certificate it belongs to";
            section.fail_key("key_file", message);
            None
        }
    }
}
