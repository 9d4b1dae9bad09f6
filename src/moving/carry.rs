//! Does what is planned for one user.
//!
//! A new user is disabled until all of him is there, and is taken back where something fails. One who was there
//! is changed in an order in which he never has more than he will have at the end, each step so that another run
//! goes on from where the first one stopped. All of it is done to whoever was found or made, by his id: his name may
//! be somebody else's meanwhile.

use super::draft::{Draft, Refusal};
use super::merge::{self, Narrows};
use super::plan::{Existing, Plan};
use crate::identity::{ApiKey, KeyId};
use crate::names::UserName;
use crate::vault::{
    AdoptedKey, KeyRequest, User, UserChange, UserRecord, Vault, VaultError, now_seconds,
};

/// Brings a new key to its user before it works: there is none that nobody has.
pub trait Delivery: Sync {
    /// Brings it.
    ///
    /// # Errors
    /// Why it cannot be brought; nothing is left of it then.
    fn deliver(&self, user: &UserName, key: &ApiKey) -> Result<(), Refusal>;

    /// Takes back what was brought: the key will not work.
    ///
    /// # Errors
    /// Where it still is.
    fn take_back(&self, user: &UserName) -> Result<(), Refusal>;
}

impl Plan {
    /// Does it, a new key through `delivery`. Where it fails, a user who was made for it is taken back; of one who
    /// was there what was written stays, but for a new key, and another run goes on.
    ///
    /// # Errors
    /// What went wrong, and what is left.
    pub async fn carry_out(
        self,
        vault: &Vault,
        delivery: Option<&dyn Delivery>,
    ) -> Result<(), Refusal> {
        let mut carrier = Carrier {
            vault,
            draft: &self.draft,
            delivery,
            delivered: None,
        };
        match &self.existing {
            Some(existing) => carrier.merge(existing).await,
            None => carrier.add().await,
        }
    }
}

struct Carrier<'a> {
    vault: &'a Vault,
    draft: &'a Draft,
    delivery: Option<&'a dyn Delivery>,
    /// The new key that its user has.
    delivered: Option<KeyId>,
}

impl Carrier<'_> {
    async fn add(&mut self) -> Result<(), Refusal> {
        let mut new = self.draft.user.clone();
        new.disabled = true;
        let user = self.vault.add_user(&self.draft.name, new).await?;
        let Err(why) = self.complete(&user).await else {
            return Ok(());
        };
        match self.vault.delete_user_by_id(&user.id).await {
            Ok(()) => Err(self.take_back(why)),
            Err(error) => Err(Refusal::partly(format!(
                "{why}; and it could not be undone ({error}): cloakroom user delete {}",
                self.draft.name
            ))),
        }
    }

    async fn complete(&mut self, user: &User) -> Result<(), Refusal> {
        if !self.draft.acts_for.is_empty() {
            let change = UserChange {
                acts_for: Some(self.draft.acts_for.clone()),
                ..UserChange::default()
            };
            self.change(user, change).await?;
        }
        self.fill(user).await?;
        if !self.draft.user.disabled {
            let change = UserChange {
                disabled: Some(false),
                ..UserChange::default()
            };
            self.change(user, change).await?;
        }
        Ok(())
    }

    async fn change(&self, user: &User, change: UserChange) -> Result<(), VaultError> {
        let changed = self.vault.amend_user(&user.id, |_| change.clone());
        changed.await.map(drop)
    }

    async fn merge(&mut self, existing: &Existing) -> Result<(), Refusal> {
        let merged = async {
            self.deny(existing).await?;
            self.fill(&existing.user).await
        };
        let Err(mut why) = merged.await else {
            return Ok(());
        };
        if let Some(id) = &self.delivered {
            // A store that does not answer may have written it.
            why = match self.vault.revoke_key(id).await {
                Ok(_) | Err(VaultError::NoKey(_)) => self.take_back(why),
                Err(_) => Refusal::new(format!(
                    "{why}; the new key `{id}` may work: cloakroom key revoke {id}"
                )),
            };
        }
        Err(Refusal::partly(format!(
            "{why}; what was written until then stays: run the same import again, which goes on"
        )))
    }

    /// First what takes something from him; all of it that is in his record at once.
    async fn deny(&self, existing: &Existing) -> Result<(), Refusal> {
        for id in &existing.revoked {
            self.vault.revoke_key(id).await?;
        }
        let change = |record: &UserRecord| {
            // What was found out of his groups is nothing of others he joined since.
            let narrows = match record.groups == existing.user.record.groups {
                true => existing.narrows,
                false => Narrows::NEITHER,
            };
            merge::change(self.draft, record, narrows)
        };
        if !merge::fields(&change(&existing.user.record)).is_empty() {
            // As his record is then: somebody may have blocked something meanwhile.
            self.vault.amend_user(&existing.user.id, change).await?;
        }
        Ok(())
    }

    /// Groups, which may block; then secrets; then keys.
    async fn fill(&mut self, user: &User) -> Result<(), Refusal> {
        let (vault, draft) = (self.vault, self.draft);
        if !draft.groups.is_empty() {
            vault.add_to_groups(&draft.groups, &user.id).await?;
        }
        for set in &draft.sets {
            vault
                .set_secrets(&draft.name, user.id, &set.server, &set.profile, &set.values)
                .await?;
        }
        for key in &draft.keys {
            vault.adopt_key(user, key).await?;
        }
        match &draft.issue {
            Some(request) => self.issue(user, request).await,
            None => Ok(()),
        }
    }

    /// Makes a key, which works only after its user has it.
    async fn issue(&mut self, user: &User, request: &KeyRequest) -> Result<(), Refusal> {
        let delivery = self
            .delivery
            .ok_or_else(|| Refusal::new("there is no way to hand over the new key"))?;
        let key = ApiKey::generate();
        delivery.deliver(&self.draft.name, &key)?;
        let digest = key.digest();
        self.delivered = Some(digest.key_id());
        let created = now_seconds();
        let record = AdoptedKey {
            digest,
            name: request.name.clone(),
            created: Some(created),
            profile: request.profile.clone(),
            expires: request.ttl.map(|ttl| created.saturating_add(ttl.as_secs())),
            revoked: None,
            limits: request.limits,
        };
        self.vault.adopt_key(user, &record).await?;
        Ok(())
    }

    /// Takes back a key that does not work any more.
    fn take_back(&self, why: Refusal) -> Refusal {
        let left = self.delivered.as_ref().and(self.delivery);
        match left.map(|delivery| delivery.take_back(&self.draft.name)) {
            Some(Err(left)) => Refusal::partly(format!("{why}; {left}")),
            _ => why,
        }
    }
}
