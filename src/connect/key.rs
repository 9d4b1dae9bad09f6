//! The key: from a variable or a file, never from an argument, which everybody on the machine can read.

use std::io::Read as _;
use std::path::Path;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::sys::{self, PrivateFileError};

/// The variable.
const VARIABLE: &str = "CLOAKROOM_KEY";
/// Bytes a key may have; what is longer is something else.
const LONGEST: usize = 4096;

/// `Authorization` with the key in `file`, or else in the variable.
///
/// # Errors
/// There is none, or it cannot be one. Says what to do, and never shows what was found.
pub(super) fn authorization(file: Option<&Path>) -> Result<HeaderValue, Failure> {
    match file {
        Some(file) => header(&of_file(file)?, &format!("the file {}", file.display())),
        None => {
            let value = std::env::var_os(VARIABLE).unwrap_or_default();
            let value = Zeroizing::new(value.into_encoded_bytes());
            if value.trim_ascii().is_empty() {
                return Err(Failure::usage(format!(
                    "no key: set {VARIABLE}, or name a file that holds it with --key-file (a new one: \
                     cloakroom key issue USER)"
                )));
            }
            header(&value, &format!("the variable {VARIABLE}"))
        }
    }
}

fn of_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let place = path.display();
    let file = sys::open_private(path).map_err(|refused| {
        Failure::new(match refused {
            PrivateFileError::Io(why) => format!("the key file {place}: {why}"),
            PrivateFileError::Open(_) => format!("the key file {place} {refused}: chmod 600 {place}"),
            PrivateFileError::RootsOpen(_) => format!(
                "the key file {place} {refused}: make it 0400, or 0440 with a group this process is in"
            ),
        })
    })?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 2));
    let read = file.take(LONGEST as u64 + 2).read_to_end(&mut bytes);
    read.map_err(|why| Failure::new(format!("the key file {place}: {why}")))?;
    Ok(bytes)
}

fn header(key: &[u8], from: &str) -> Result<HeaderValue, Failure> {
    let key = key.trim_ascii();
    if key.is_empty() || key.len() > LONGEST || !key.iter().all(u8::is_ascii_graphic) {
        return Err(Failure::new(format!(
            "{from} does not hold a key: write the key alone into it, as `cloakroom key issue` shows it"
        )));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(7 + key.len()));
    text.extend_from_slice(b"Bearer ");
    text.extend_from_slice(key);
    let mut value = HeaderValue::from_bytes(&text).map_err(Failure::new)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    // Fails when the file is opened without looking at its mode.
    #[test]
    fn a_file_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "clk_abc\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let value = authorization(Some(&path)).unwrap();
        assert!(value == "Bearer clk_abc" && value.is_sensitive());
        for mode in [0o640, 0o604] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = authorization(Some(&path)).unwrap_err().to_string();
            assert!(
                said.contains(&format!("chmod 600 {}", path.display())),
                "{said}"
            );
        }
        let missing = authorization(Some(&folder.path().join("none"))).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        let long = "hunter2".repeat(1000);
        for bad in [
            "",
            " \n",
            "hunter2 hunter2",
            "hunter2\nhunter2",
            "hünter2",
            &long,
        ] {
            let said = header(bad.as_bytes(), "it").unwrap_err().to_string();
            assert!(
                said.contains("key issue") && !said.contains("nter2"),
                "{said}"
            );
        }
    }
}
