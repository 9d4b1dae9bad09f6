//! Variables of a child process's environment that a slot may set.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Template;

/// Why no slot can set a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VariableNameError {
    /// Not a name.
    #[error("not a variable's name: write 1 to 128 of A-Z a-z 0-9 _, no digit first")]
    Invalid,
    /// Of these the child has its own.
    #[error("every child has a private folder there already; remove it")]
    Ours,
    /// A value that says which program runs, or what runs within it.
    #[error(
        "decides which code runs, so it cannot hold a user's secret; write a constant, or remove it"
    )]
    Code,
}

/// Names, and beginnings of names (with a `*`), of variables by which dynamic linkers, shells and
/// language runtimes are told to load code. A user who could set one would run programs here.
const CODE: &[&str] = &[
    "BASH_*",
    "DENO_*",
    "DOTNET_*",
    "DYLD_*",
    "ENV",
    "GCONV_PATH",
    "GIT_*",
    "GLIBC_TUNABLES",
    "IFS",
    "JAVA_*",
    "JDK_*",
    "LD_*",
    "LUA_*",
    "NODE_*",
    "NPM_*",
    "OPENSSL_*",
    "PATH",
    "PERL*",
    "PHP*",
    "PS4",
    "PYTHON*",
    "RUBY*",
    "SHELL",
    "SHELLOPTS",
    "UV_*",
    "_JAVA_*",
];

/// The name of a variable a slot may set to `template`.
///
/// # Errors
/// When it is none, or must not hold a secret.
pub fn variable_name(text: &str, template: &Template) -> Result<String, VariableNameError> {
    let word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let begins = text.starts_with(|c: char| !c.is_ascii_digit());
    if !word || !begins || text.len() > 128 {
        return Err(VariableNameError::Invalid);
    }
    if matches!(text, "HOME" | "TMPDIR" | "PWD") {
        return Err(VariableNameError::Ours);
    }
    let upper = text.to_ascii_uppercase();
    let is_code = CODE.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => upper.starts_with(beginning),
        None => upper == *known,
    });
    if is_code && !template.is_constant() {
        return Err(VariableNameError::Code);
    }
    Ok(text.to_owned())
}

/// What slots set in the environment of a child process. Clones are the same buffers, zeroed when the
/// last is dropped. No `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Environment(Option<Arc<Known>>);

/// What a child is told.
struct Known {
    variables: Vec<(String, Zeroizing<Vec<u8>>)>,
    secrets: Vec<Zeroizing<Vec<u8>>>,
}

impl Environment {
    pub(super) fn new(
        variables: Vec<(String, Zeroizing<Vec<u8>>)>,
        secrets: Vec<Zeroizing<Vec<u8>>>,
    ) -> Self {
        // Most requests start no child, and take no room for it.
        let is_any = !variables.is_empty() || !secrets.is_empty();
        Self(is_any.then(|| Arc::new(Known { variables, secrets })))
    }

    /// The variables and their values, in plain text.
    #[must_use]
    pub fn expose_variables(&self) -> &[(String, Zeroizing<Vec<u8>>)] {
        self.0.as_ref().map_or(&[], |known| &known.variables)
    }

    /// The secrets the child comes to know, by its variables or later by arguments, in plain text: what is
    /// to be hidden in what it writes. Of `Bearer ${TOKEN}` it may write the token alone, and constants are
    /// nobody's secret.
    #[must_use]
    pub fn expose_secrets(&self) -> &[Zeroizing<Vec<u8>>] {
        self.0.as_ref().map_or(&[], |known| &known.secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{ArgumentSlot, Arguments, Request, Slots};
    use crate::names::SecretName;
    use crate::vault::{SecretSet, SecretValue};

    fn secrets(list: &[(&str, &str)]) -> SecretSet {
        list.iter().fold(SecretSet::empty(), |set, (name, value)| {
            let value = SecretValue::new(Zeroizing::new(value.as_bytes().to_vec())).unwrap();
            set.with(&SecretName::parse(name).unwrap(), Some(&value))
        })
    }

    // Fails when a variable as a whole is told in place of what it is made of, when constants are, or when
    // the secrets of arguments are not.
    #[test]
    fn a_child_is_known_by_the_secrets_it_comes_to_know() {
        let template = |text: &str| Template::parse(text).unwrap();
        let slots = |environment: &[(&str, &str)]| {
            let parsed = environment
                .iter()
                .map(|(n, t)| ((*n).to_owned(), template(t)));
            let argument = ArgumentSlot::new("key", template("${C}"), None).unwrap();
            Slots::new(vec![], vec![], Arguments::Named(vec![argument]))
                .with_environment(parsed.collect())
        };
        let set = secrets(&[("A", "aaaa"), ("B", "bbbb"), ("C", "cccc"), ("D", "dddd")]);
        let known = |slots: &Slots| -> Vec<Vec<u8>> {
            let plan = slots.plan(&set, &Request::default()).ok().unwrap();
            let secrets = plan.environment().expose_secrets();
            secrets.iter().map(|secret| secret.to_vec()).collect()
        };
        let environment = [
            ("AUTH", "Basic ${base64(A:B)}"),
            ("MODE", "read"),
            ("A", "x${A}"),
        ];
        assert_eq!(known(&slots(&environment)), [b"aaaa", b"bbbb", b"cccc"]);
        assert!(known(&slots(&[])).is_empty());
    }

    #[test]
    fn no_secret_decides_which_code_runs() {
        let secret = Template::parse("${A}").unwrap();
        let constant = Template::parse("/usr/bin").unwrap();
        for name in ["GITHUB_TOKEN", "token", "_X1", "NODEPATH", "PYX"] {
            assert_eq!(variable_name(name, &secret).as_deref(), Ok(name));
        }
        for name in [
            "PATH",
            "LD_PRELOAD",
            "ld_preload",
            "NODE_OPTIONS",
            "PYTHONPATH",
            "BASH_ENV",
        ] {
            let refused = variable_name(name, &secret);
            assert_eq!(refused, Err(VariableNameError::Code), "{name}");
            assert!(variable_name(name, &constant).is_ok(), "{name}");
        }
        for name in ["", "1A", "A-B", "A=B", "A\0", "É", &"A".repeat(129)] {
            let refused = variable_name(name, &constant);
            assert_eq!(refused, Err(VariableNameError::Invalid), "{name:?}");
        }
        assert_eq!(
            variable_name("HOME", &constant),
            Err(VariableNameError::Ours)
        );
    }
}
