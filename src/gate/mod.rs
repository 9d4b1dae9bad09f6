//! The one read path: who calls, may he, and what is to be put into his request.
//!
//! Two steps, because nobody's body is read before he is known: [`Gate::authenticate`], then
//! [`Gate::admit`]. Only the second makes a [`Grant`], and nothing is sent to a backend without one.

mod door;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

pub use door::{Discovery, Door, NoServerKey};

use crate::identity::{KeyDigest, credential};
pub use crate::inject::{Environment, Planned, Request};
use crate::inject::{Place, Plan, Unplannable};
use crate::names::{ProfileName, ServerName};
use crate::policy::{self, Denied};
use crate::rejection::{Kind, Rejection};
use crate::resolve::{Identity, ResolveError, Resolver};
use crate::vault::{SecretSet, now_seconds};

/// Proof that this request is allowed, and what is to be put into it. Made by [`Gate::admit`] only.
pub struct Grant<'d> {
    plan: Plan<'d>,
    secret_version: u64,
    merged: Vec<String>,
}

impl Grant<'_> {
    /// The version of the secrets in the plan; 0 when the request needs none.
    #[must_use]
    pub fn secret_version(&self) -> u64 {
        self.secret_version
    }

    /// The arguments that are the user's secrets under their own names, to be hidden from tool lists
    /// besides the declared ones.
    #[must_use]
    pub fn merged(&self) -> &[String] {
        &self.merged
    }

    /// The arguments to be set in a call of `tool`.
    pub fn arguments<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = &'a Planned<'a>> {
        self.plan.arguments(tool)
    }

    /// Puts the headers of the plan into `headers`.
    pub fn apply(&mut self, headers: &mut HeaderMap) {
        self.plan.apply(headers);
    }

    /// The query to be appended to the backend's; empty when there is none. It holds secrets.
    #[must_use]
    pub fn expose_query(&self) -> &str {
        self.plan.expose_query()
    }

    /// What the child process of this user is to be started with.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        self.plan.environment()
    }
}

/// Judges requests.
pub struct Gate {
    resolver: Resolver,
    doors: BTreeMap<ServerName, Arc<Door>>,
    key_prefixes: Vec<String>,
}

impl Gate {
    /// A gate to the servers behind `doors`; keys that begin with one of `key_prefixes` are looked
    /// up besides our own.
    #[must_use]
    pub fn new(
        resolver: Resolver,
        doors: impl IntoIterator<Item = Door>,
        key_prefixes: Vec<String>,
    ) -> Self {
        let doors = doors
            .into_iter()
            .map(|door| (door.name.clone(), Arc::new(door)))
            .collect();
        Self {
            resolver,
            doors,
            key_prefixes,
        }
    }

    /// The door to a server.
    #[must_use]
    pub fn door(&self, server: &ServerName) -> Option<&Arc<Door>> {
        self.doors.get(server)
    }

    /// Whose the key in these headers is, if it stands. `server` is where the request wants to go:
    /// on a cold key its secrets are fetched along.
    ///
    /// # Errors
    /// Unauthenticated, expired, revoked, disabled; or that it cannot be found out.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        server: Option<&ServerName>,
    ) -> Result<Identity, Rejection> {
        let unknown = || Rejection::new(Kind::Unauthenticated);
        let key = credential(headers).map_err(|_| unknown())?;
        let digest = KeyDigest::of_presented(key, &self.key_prefixes).map_err(|_| unknown())?;
        let door = server.and_then(|server| self.doors.get(server));
        let wants = door
            .filter(|door| door.slots.need_secrets())
            .map(|door| (door.name.as_str(), ProfileName::DEFAULT));
        let identity = self
            .resolver
            .identify(digest, wants)
            .await
            .map_err(unresolved)?;
        stands(&identity)?;
        Ok(identity)
    }

    /// The profile whose secrets are used: the one `asked` for in the path, else the key's.
    ///
    /// # Errors
    /// A profile asked for under which the user has no secrets for this server.
    pub fn profile(
        &self,
        identity: &Identity,
        door: &Door,
        asked: Option<ProfileName>,
    ) -> Result<ProfileName, Rejection> {
        let default = ProfileName::default_profile();
        let Some(asked) = asked else {
            return match identity.key().profile.as_deref() {
                None => Ok(default),
                // Our commands write none that does not parse; another person's secrets are no answer.
                Some(named) => {
                    ProfileName::parse(named).map_err(|_| Rejection::new(Kind::RecordUnreadable))
                }
            };
        };
        if asked == default || identity.has_secrets(door.name.as_str(), asked.as_str()) {
            return Ok(asked);
        }
        let (user, server) = (identity.user_name(), &door.name);
        let text = format!(
            "you have no secrets in the profile `{asked}` for the server `{server}`: set one with \
             `cloakroom secret set {user} {server} NAME --profile {asked}`"
        );
        Err(Rejection::with_text(Kind::UnknownProfile, text))
    }

    /// Unseals the user's secrets for the server behind `door` and plans the request.
    ///
    /// # Errors
    /// A secret that is missing or cannot be opened, named, with how to set it; or that the store
    /// cannot be reached.
    pub async fn admit<'d>(
        &self,
        identity: &Identity,
        door: &'d Door,
        profile: &ProfileName,
        request: &Request<'_>,
    ) -> Result<Grant<'d>, Rejection> {
        let missing = match self.plan(identity, door, profile, request).await {
            Err(rejection) if rejection.kind() == Kind::SecretMissing => rejection,
            planned => return planned,
        };
        // Who was told to set a secret tries again at once, sooner than the store's word gets here.
        match self.resolver.reread(identity).await {
            Ok(fresh) => {
                stands(&fresh)?;
                self.plan(&fresh, door, profile, request).await
            }
            Err(_) => Err(missing),
        }
    }

    async fn plan<'d>(
        &self,
        identity: &Identity,
        door: &'d Door,
        profile: &ProfileName,
        request: &Request<'_>,
    ) -> Result<Grant<'d>, Rejection> {
        let (secrets, secret_version) = if door.slots.needs_secrets(request) {
            match self.unseal(identity, door, profile).await {
                Err(rejection)
                    if request.optional && rejection.kind() == Kind::SecretUnreadable =>
                {
                    (SecretSet::empty(), 0)
                }
                unsealed => unsealed?,
            }
        } else {
            (SecretSet::empty(), 0)
        };
        let plan = door.slots.plan(&secrets, request);
        let merged = if door.slots.merges_all() {
            secrets.names().map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        match plan {
            Ok(plan) => Ok(Grant {
                plan,
                secret_version,
                merged,
            }),
            Err(unplannable) => Err(refusal(identity, door, profile, &unplannable)),
        }
    }

    /// As [`Gate::admit`], but waits up to `patience` for a secret that is missing to be set.
    ///
    /// # Errors
    /// Those of [`Gate::admit`], and of [`Gate::authenticate`] when the key stops standing meanwhile.
    pub async fn admit_later<'d>(
        &self,
        identity: &Identity,
        door: &'d Door,
        profile: &ProfileName,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Grant<'d>, Rejection> {
        let until = Instant::now() + patience;
        let mut identity = identity.clone();
        let mut admitted = self.admit(&identity, door, profile, request).await;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match admitted {
                Err(rejection) if rejection.kind() == Kind::SecretMissing && !left.is_zero() => {}
                done => return done,
            }
            self.resolver.changed(&identity, left).await;
            identity = self.again(&identity).await?;
            // Not `admit`: what it reads again would count as a change, and the store be asked all the
            // time.
            admitted = self.plan(&identity, door, profile, request).await;
        }
    }

    /// The identity as it is now: for who was authenticated a while ago, and is served only now.
    ///
    /// # Errors
    /// Those of [`Gate::authenticate`].
    pub async fn again(&self, identity: &Identity) -> Result<Identity, Rejection> {
        let identity = self.resolver.again(identity).await.map_err(unresolved)?;
        stands(&identity)?;
        Ok(identity)
    }

    /// Resolves when the key no longer stands: revoked, expired, its user disabled or gone, or
    /// that it cannot be found out for longer than the rule allows.
    pub async fn until_denied(&self, mut identity: Identity) {
        const LONGEST: u64 = 3600;
        loop {
            let left = identity
                .key()
                .expires
                .map(|at| at.saturating_sub(now_seconds()));
            let wait = std::time::Duration::from_secs(left.unwrap_or(LONGEST).clamp(1, LONGEST));
            self.resolver.changed(&identity, wait).await;
            identity = match self.resolver.again(&identity).await {
                Ok(identity) if stands(&identity).is_ok() => identity,
                _ => return,
            };
        }
    }

    async fn unseal(
        &self,
        identity: &Identity,
        door: &Door,
        profile: &ProfileName,
    ) -> Result<(SecretSet, u64), Rejection> {
        let sealed = self
            .resolver
            .secrets(identity, door.name.as_str(), profile.as_str())
            .await;
        let record = match sealed {
            Ok(Some(record)) => record,
            Ok(None) => return Ok((SecretSet::empty(), 0)),
            Err(ResolveError::Unreadable(error)) => {
                return Err(unreadable(identity, door, profile, &error));
            }
            Err(error) => return Err(unresolved(error)),
        };
        match door.opener.open(&record) {
            Ok(set) => Ok((set, record.version)),
            Err(error) => Err(unreadable(identity, door, profile, &error)),
        }
    }
}

fn stands(identity: &Identity) -> Result<(), Rejection> {
    let denied = policy::standing(identity.key(), identity.disabled(), now_seconds());
    denied.map_err(|denied| {
        Rejection::new(match denied {
            Denied::KeyExpired => Kind::KeyExpired,
            Denied::KeyRevoked => Kind::KeyRevoked,
            Denied::UserDisabled => Kind::UserDisabled,
        })
    })
}

fn unresolved(error: ResolveError) -> Rejection {
    match error {
        ResolveError::Unknown => Rejection::new(Kind::Unauthenticated),
        ResolveError::Unreadable(error) => {
            tracing::error!(%error, "a key's or user's record cannot be used");
            Rejection::new(Kind::RecordUnreadable)
        }
        ResolveError::Store(error) => {
            tracing::warn!(%error, "a key cannot be checked");
            Rejection::new(Kind::StoreUnreachable)
        }
    }
}

fn unreadable(
    identity: &Identity,
    door: &Door,
    profile: &ProfileName,
    error: &dyn std::fmt::Display,
) -> Rejection {
    let (user, server) = (identity.user_name(), &door.name);
    tracing::error!(user, %server, %profile, %error, "secrets cannot be used");
    let text = format!(
        "the secrets of `{user}` for the server `{server}` cannot be opened ({error}); delete them \
         with `cloakroom secret delete {user} {server} --all{}` and set them again",
        option(profile)
    );
    Rejection::with_text(Kind::SecretUnreadable, text)
}

fn refusal(
    identity: &Identity,
    door: &Door,
    profile: &ProfileName,
    unplannable: &Unplannable,
) -> Rejection {
    let (user, server, option) = (identity.user_name(), &door.name, option(profile));
    let text = match unplannable {
        Unplannable::Missing(names) => {
            let set = |name| format!("`cloakroom secret set {user} {server} {name}{option}`");
            let names: Vec<_> = names.iter().collect();
            let list = names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let commands = names.iter().map(set).collect::<Vec<_>>().join(" and ");
            format!(
                "the server `{server}` needs {list}, not set for the user `{user}`: set it with {commands}"
            )
        }
        Unplannable::Unfit(Place::Header(header)) => format!(
            "a secret of the user `{user}` for the server `{server}` holds characters the header \
             `{header}` cannot carry: set it again with `cloakroom secret set {user} {server} NAME{option}`"
        ),
        Unplannable::Unfit(place) => format!(
            "a secret of the user `{user}` for the server `{server}` is not text, which the {place} \
             needs: set it again with `cloakroom secret set {user} {server} NAME{option}`"
        ),
    };
    Rejection::with_text(Kind::SecretMissing, text)
}

fn option(profile: &ProfileName) -> String {
    if *profile == ProfileName::default_profile() {
        String::new()
    } else {
        format!(" --profile {profile}")
    }
}
