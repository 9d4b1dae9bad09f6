//! Sealed records: each opens as and where it was written, and in no other way.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::store::{Record, Settings, StoreUrl, open};
use cloakroom::vault::{KeyRequest, Keyring, NewUser, Reader, SecretOpener, SecretValue, Vault};
use zeroize::Zeroizing;

use super::edited::edited;

/// What one installation wrote, and who may read it.
struct House {
    /// A key, a user, a set of secrets.
    records: Vec<Record>,
    reader: Reader,
    opener: SecretOpener,
}

static OURS: LazyLock<House> = LazyLock::new(House::new);
static ANOTHER: LazyLock<House> = LazyLock::new(House::new);

/// Which record, which changes to its id and version, and how its blob is changed.
pub(crate) fn run(input: &[u8]) {
    let Some((&[which, about], program)) = input.split_first_chunk() else {
        return;
    };
    let records = &OURS.records;
    let original = &records[usize::from(which) % records.len()];
    let mut record = original.clone();
    record.version ^= u64::from(about >> 4);
    match about & 15 {
        // As somebody who can write to the store has it.
        0 => record.blob = program.to_vec().into(),
        1 => {
            record.blob = ANOTHER.records[usize::from(which) % records.len()]
                .blob
                .clone()
        }
        2 => {
            record.id = ANOTHER.records[usize::from(which) % records.len()]
                .id
                .clone()
        }
        3 => record.blob = records[usize::from(which / 3) % records.len()].blob.clone(),
        _ => record.blob = edited(&original.blob, program).into(),
    }
    assert_eq!(OURS.opens(&record), record == *original, "{}", record.id);
    assert!(!ANOTHER.opens(&record), "{}", record.id);
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(Self::furnished())
    }

    async fn furnished() -> Self {
        let url = StoreUrl::parse("memory:", Path::new("")).expect("a URL");
        let store = open(&Settings::new(url)).await.expect("a store");
        let ring = Arc::new(Keyring::generate());
        let vault = Vault::new(store.clone(), ring.clone());
        let user = UserName::parse("alice").expect("a name");
        let server = ServerName::parse("github").expect("a name");
        let secret = SecretName::parse("TOKEN").expect("a name");
        let value = SecretValue::new(Zeroizing::new(b"ghp_1".to_vec())).expect("a fit value");
        let profile = ProfileName::default_profile();
        vault
            .add_user(&user, NewUser::default())
            .await
            .expect("a user");
        vault
            .issue_key(&user, KeyRequest::default())
            .await
            .expect("a key");
        let set = vault.set_secret(&user, &server, &profile, &secret, &value);
        set.await.expect("a secret");
        let mut records = Vec::new();
        for kind in ["k/", "u/", "s/"] {
            records.extend(store.page(kind, None, 1).await.expect("a page"));
        }
        Self {
            records,
            opener: SecretOpener::new(&ring, &server).expect("a key for every server"),
            reader: Reader::new(ring),
        }
    }

    fn opens(&self, record: &Record) -> bool {
        match record.id.as_str().as_bytes()[0] {
            b'k' => self.reader.open_key(record).is_ok(),
            b'u' => self.reader.open_user(record).is_ok(),
            _ => self.opener.open(record).is_ok(),
        }
    }
}
