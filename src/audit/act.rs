//! What administrators do, by name: over the admin API and by a command alike.

use serde::{Serialize, Serializer};

/// Every act and its name in the trail.
macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident = $name:literal,)*) => {
        /// What an administrator does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Act {
            $($(#[$doc])* $act,)*
        }

        impl Act {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$act,)*];

            /// Its name in the trail.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$act => $name,)*
                }
            }
        }
    };
}

acts! {
    /// Says which servers and tools a user, or the members of `group:NAME`, may use.
    AccessSet = "access.set",
    /// Makes a key for an administrator.
    AdminKeyIssue = "admin_key.issue",
    /// Revokes one.
    AdminKeyRevoke = "admin_key.revoke",
    /// Writes everything to a file under a passphrase.
    Export = "export",
    /// Makes a group.
    GroupAdd = "group.add",
    /// Deletes one.
    GroupDelete = "group.delete",
    /// Puts users into a group.
    GroupJoin = "group.join",
    /// Takes users out of one.
    GroupLeave = "group.leave",
    /// Deletes secrets a group shares.
    GroupSecretDelete = "group.secret.delete",
    /// Sets one.
    GroupSecretSet = "group.secret.set",
    /// Changes what is known of a group.
    GroupUpdate = "group.update",
    /// Takes over what a file holds.
    Import = "import",
    /// Makes a key for a user.
    KeyIssue = "key.issue",
    /// Revokes one.
    KeyRevoke = "key.revoke",
    /// Writes out the keys of one server.
    KeyringExport = "keyring.export",
    /// Removes keys of the keyring.
    KeyringRetire = "keyring.retire",
    /// Makes new ones.
    KeyringRotate = "keyring.rotate",
    /// Deletes secrets of a user.
    SecretDelete = "secret.delete",
    /// Sets one.
    SecretSet = "secret.set",
    /// Writes the store to a file.
    StoreBackup = "store.backup",
    /// Copies a store to another.
    StoreCopy = "store.copy",
    /// Reads such a file into the store.
    StoreRestore = "store.restore",
    /// Makes a user.
    UserAdd = "user.add",
    /// Deletes one.
    UserDelete = "user.delete",
    /// Refuses the keys of one.
    UserDisable = "user.disable",
    /// Accepts them again.
    UserEnable = "user.enable",
    /// Changes what is known of a user, his bounds, or for whom he acts.
    UserUpdate = "user.update",
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_act_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Act::ALL.iter().map(|act| act.name()).collect();
        assert_eq!(names.len(), Act::ALL.len());
    }
}
