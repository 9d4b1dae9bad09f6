//! Stores that are copied, backed up and restored: everybody who lived in one lives in the other,
//! and nobody else.

mod copying;
mod files;
mod meddling;
mod refusals;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cloakroom::identity::ApiKey;
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::policy::{Denied, standing};
use cloakroom::resolve::{self, Resolver};
use cloakroom::store::{
    self, Copied, CopyError, Record, RecordId, Rule, Settings, Store, StoreUrl, Tally,
};
use cloakroom::vault::{
    KeyRequest, Keyring, NewUser, Reader, SecretOpener, SecretSet, SecretValue, Vault,
};

const SERVER: &str = "github";
const SECRET: &str = "TOKEN";
const FOLLOW: Rule = follow(false, false);
const DELETE: Rule = follow(true, false);
const AGAIN: Rule = follow(false, true);

const fn follow(delete: bool, again: bool) -> Rule {
    Rule::Follow { delete, again }
}

/// An installation, and what must be so wherever its records are.
struct Town {
    ring: Arc<Keyring>,
    people: Vec<Person>,
}

struct Person {
    name: UserName,
    key: ApiKey,
    /// A key of hers that was revoked.
    revoked: ApiKey,
}

impl Person {
    fn secret(&self) -> String {
        format!("{}-canary", self.name)
    }
}

impl Town {
    /// Founded in `store`, through the vault.
    async fn new(store: &Arc<dyn Store>, people: usize) -> Self {
        let mut town = Self {
            ring: Arc::new(Keyring::generate()),
            people: Vec::new(),
        };
        town.vault(store).check_keyring().await.unwrap();
        for n in 0..people {
            town.settle_in(store, &format!("resident-{n}")).await;
        }
        town
    }

    fn vault(&self, store: &Arc<dyn Store>) -> Vault {
        Vault::new(Arc::clone(store), self.ring.clone())
    }

    async fn settle_in(&mut self, store: &Arc<dyn Store>, name: &str) {
        let person = arrives(&self.vault(store), name).await;
        self.people.push(person);
    }

    /// Everybody is let in and gets their own secret, and nobody by a revoked key.
    async fn lives_in(&self, store: &Arc<dyn Store>) {
        self.vault(store).check_keyring().await.unwrap();
        let reader = Reader::new(self.ring.clone());
        let resolver = Resolver::new(store.clone(), reader, &resolve::Settings::default());
        let opener = SecretOpener::new(&self.ring, &server()).unwrap();
        let at = (SERVER, ProfileName::DEFAULT);
        for person in &self.people {
            let identity = resolver.identify(person.key.digest(), Some(at)).await;
            let identity = identity.unwrap();
            assert_eq!(identity.user_name(), person.name.as_str());
            standing(identity.key(), identity.disabled(), now()).unwrap();
            let sealed = resolver.secrets(&identity, at.0, at.1).await.unwrap();
            let set: SecretSet = opener.open_kept(&sealed[0].set).ok().unwrap();
            let value = set.expose(&secret_name()).map(<[u8]>::to_vec);
            assert_eq!(value, Some(person.secret().into_bytes()));
            let revoked = resolver.identify(person.revoked.digest(), None).await;
            let revoked = revoked.unwrap();
            let denied = standing(revoked.key(), revoked.disabled(), now());
            assert_eq!(denied.err(), Some(Denied::KeyRevoked));
        }
    }
}

/// Adds a user with a secret, a key, and a key that is revoked.
async fn arrives(vault: &Vault, name: &str) -> Person {
    let name = UserName::parse(name).unwrap();
    let new = NewUser::with_email(&format!("{name}@mail.example"));
    vault.add_user(&name, new).await.unwrap();
    let issue = || vault.issue_key(&name, KeyRequest::default());
    let key = issue().await.unwrap().key;
    let revoked = issue().await.unwrap();
    vault.revoke_key(&revoked.id).await.unwrap();
    let revoked = revoked.key;
    let person = Person { name, key, revoked };
    set_secret(vault, &person.name, &person.secret()).await;
    person
}

async fn set_secret(vault: &Vault, user: &UserName, value: &str) {
    let value = SecretValue::new(value.as_bytes().to_vec().into()).unwrap();
    let profile = ProfileName::parse(ProfileName::DEFAULT).unwrap();
    let (server, name) = (server(), secret_name());
    let set = vault.set_secret(user, &server, &profile, &name, &value);
    set.await.unwrap();
}

fn server() -> ServerName {
    ServerName::parse(SERVER).unwrap()
}

fn secret_name() -> SecretName {
    SecretName::parse(SECRET).unwrap()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

fn id(text: &str) -> RecordId {
    RecordId::parse(text).unwrap()
}

fn settings(url: &str) -> Settings {
    Settings::new(StoreUrl::parse(url, Path::new("/nonexistent")).unwrap())
}

async fn memory() -> Arc<dyn Store> {
    store::open(&settings("memory:")).await.unwrap()
}

async fn sqlite(path: &Path) -> Arc<dyn Store> {
    let settings = settings(&format!("sqlite:{}", path.display()));
    store::open(&settings).await.unwrap()
}

/// Everything in a store, heartbeats too.
async fn all(store: &Arc<dyn Store>) -> Vec<Record> {
    let mut found = Vec::new();
    for kind in 'a'..='z' {
        let page = store.page(&format!("{kind}/"), None, usize::MAX).await;
        found.extend(page.unwrap());
    }
    found
}

#[track_caller]
fn same(one: &[Record], other: &[Record]) {
    let ids = |records: &[Record]| -> Vec<_> {
        let ids = records.iter().map(|r| format!("{}@{}", r.id, r.version));
        ids.collect()
    };
    assert_eq!(ids(one), ids(other));
    assert!(one == other, "blobs differ");
}

async fn copied(
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    rule: Rule,
) -> Result<Copied, CopyError> {
    store::copy(&**from, &**to, rule, &|_, _, _| {}).await
}

async fn refusal(from: &Arc<dyn Store>, to: &Arc<dyn Store>, rule: Rule) -> CopyError {
    let before = all(to).await;
    let refused = copied(from, to, rule).await.err().expect("it was copied");
    same(&before, &all(to).await);
    refused
}

fn sum(copied: &Copied, of: impl Fn(&Tally) -> u64) -> u64 {
    copied.kinds.values().map(of).sum()
}
