//! The one read path: who calls, may he, and what is to be put into his request.
//!
//! Two steps, because nobody's body is read before he is known: [`Gate::authenticate`], then
//! [`Gate::admit`]. Only the second makes a [`Grant`], and nothing is sent to a backend without one.

mod door;
mod grant;
mod permits;
mod presented;
mod refusal;
mod spending;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

pub use door::{Discovery, Door, NoServerKey};
pub use grant::{Grant, Used};
pub use permits::{DefaultInForce, Permits};
pub(crate) use presented::Presented;
pub use spending::Rates;

pub use crate::identity::CARRIERS;
use crate::identity::{CredentialError, KeyDigest, credential};
pub use crate::inject::{Environment, Planned, Request};
use crate::names::{ProfileName, ServerName, UserName};
use crate::policy;
pub use crate::policy::DefaultAccess;
use crate::rejection::{Kind, Rejection};
use crate::resolve::{Identity, ResolveError, Resolver, Sealed, StaticKey};
use crate::vault::{SecretSet, now_seconds};
use grant::Unsealed;
use refusal::{refusal, stands, unreadable, unresolved};

/// What holds for requests to every server.
#[derive(Clone, Default)]
pub struct Rules {
    /// What keys begin with that are looked up besides our own.
    pub key_prefixes: Vec<String>,
    /// Which servers may be used by whom no list allows any.
    pub default_access: DefaultInForce,
    /// Who calls without a key, if that is anybody: while the resolver says so too.
    pub default_user: Option<UserName>,
    /// How much may be asked for over time; nothing is bounded without.
    pub rates: Option<Rates>,
}

/// Whose request it is follows from this.
enum Key {
    /// By the digest under which the store may know it.
    Issued(KeyDigest),
    /// Of the configuration.
    Configured(Arc<StaticKey>),
}

/// Judges requests.
pub struct Gate {
    resolver: Resolver,
    doors: BTreeMap<ServerName, Arc<Door>>,
    rules: Rules,
}

impl Gate {
    /// A gate to the servers behind `doors`.
    #[must_use]
    pub fn new(resolver: Resolver, doors: impl IntoIterator<Item = Door>, rules: Rules) -> Self {
        let doors = doors
            .into_iter()
            .map(|door| (door.name.clone(), Arc::new(door)))
            .collect();
        Self {
            resolver,
            doors,
            rules,
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
        let presented = Presented::of(headers);
        self.authenticate_presented(headers, &presented, server)
            .await
    }

    /// As [`Gate::authenticate`], of headers of which it is known already what key they carry.
    pub(crate) async fn authenticate_presented(
        &self,
        headers: &HeaderMap,
        presented: &Presented,
        server: Option<&ServerName>,
    ) -> Result<Identity, Rejection> {
        let door = server.and_then(|server| self.doors.get(server));
        let wants = door
            .filter(|door| door.slots.need_secrets())
            .map(|door| (door.name.as_str(), ProfileName::DEFAULT));
        let identity = self.identify(headers, presented, wants).await?;
        stands(&identity)?;
        Ok(identity)
    }

    async fn identify(
        &self,
        headers: &HeaderMap,
        presented: &Presented,
        wants: Option<(&str, &str)>,
    ) -> Result<Identity, Rejection> {
        debug_assert!(
            presented.own() == Presented::of(headers).own(),
            "what is known of a head is known of this one"
        );
        let resolver = &self.resolver;
        let identity = match self.key(headers, presented) {
            Some(Key::Issued(digest)) => {
                let last = presented.last();
                resolver.identify_again(digest, wants, last).await
            }
            Some(Key::Configured(key)) => Box::pin(resolver.identify_static(key)).await,
            None => return Err(Rejection::new(Kind::Unauthenticated)),
        };
        identity.map_err(unresolved)
    }

    /// The key to look up: the one presented, or that of who calls without one.
    fn key(&self, headers: &HeaderMap, presented: &Presented) -> Option<Key> {
        let resolver = &self.resolver;
        if let Some(own) = presented.own() {
            let known = resolver.static_key_of(&own).map(Key::Configured);
            return Some(known.unwrap_or(Key::Issued(own)));
        }
        match credential(headers) {
            Ok(key) => match resolver.static_key(key) {
                Some(known) => Some(Key::Configured(known)),
                None => {
                    let digest = KeyDigest::of_presented(key, &self.rules.key_prefixes);
                    digest.ok().map(Key::Issued)
                }
            },
            Err(CredentialError::Missing) if was_passed_on(headers) => None,
            // Of this gate's configuration, which says who can connect, and of the one in force.
            Err(CredentialError::Missing) => resolver
                .default_user()
                .filter(|known| Some(&known.user) == self.rules.default_user.as_ref())
                .map(Key::Configured),
            Err(CredentialError::Malformed) => None,
        }
    }

    /// The user `name`, in whose name `caller` calls.
    ///
    /// # Errors
    /// That he may not, that there is no such user, or what keeps it from being found out.
    pub async fn on_behalf(
        &self,
        caller: &Identity,
        name: &UserName,
    ) -> Result<Identity, Rejection> {
        // Before the name is looked up: nobody else is told who there is.
        if !policy::acts_for(caller.user(), name.as_str()) {
            return Err(Rejection::new(Kind::MayNotActFor));
        }
        let identity = self.resolver.on_behalf(caller, name).await;
        let identity = identity.map_err(|error| match error {
            ResolveError::Unknown => Rejection::new(Kind::UnknownUser),
            error => unresolved(error),
        })?;
        stands(&identity)?;
        Ok(identity)
    }

    /// What the user may use of the server behind `door`.
    ///
    /// # Errors
    /// That he may not use it at all.
    pub fn permits(&self, identity: &Identity, door: &Door) -> Result<Permits, Rejection> {
        let default = self.rules.default_access.now();
        let permits = Permits::of(identity, default, &door.name);
        permits.ok_or_else(|| {
            let text = format!(
                "you may not use the server `{}`: ask your administrator (cloakroom access show {})",
                door.name,
                identity.user_name()
            );
            Rejection::with_text(Kind::ServerBlocked, text)
        })
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
        match Box::pin(self.resolver.reread(identity)).await {
            Ok(fresh) => {
                self.still_allows(&fresh, door, request)?;
                self.plan(&fresh, door, profile, request).await
            }
            Err(_) => Err(missing),
        }
    }

    /// Whether the request is still allowed, for records that were read after it was.
    fn still_allows(
        &self,
        identity: &Identity,
        door: &Door,
        request: &Request<'_>,
    ) -> Result<(), Rejection> {
        stands(identity)?;
        self.permits(identity, door)?.check_tools(request.tools)
    }

    async fn plan<'d>(
        &self,
        identity: &Identity,
        door: &'d Door,
        profile: &ProfileName,
        request: &Request<'_>,
    ) -> Result<Grant<'d>, Rejection> {
        let unsealed = if door.slots.needs_secrets(request) {
            match self.unseal(identity, door, profile).await {
                Err(rejection)
                    if request.optional && rejection.kind() == Kind::SecretUnreadable =>
                {
                    Unsealed::default()
                }
                unsealed => unsealed?,
            }
        } else {
            Unsealed::default()
        };
        match door.slots.plan(&unsealed.secrets, request) {
            Ok(plan) => Ok(Grant::new(plan, door, &unsealed)),
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
            self.still_allows(&identity, door, request)?;
            // Not `admit`, which asks the store: whatever changed was told.
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

    /// Resolves when a stream that was opened with these permits is to end: the key no longer stands
    /// (revoked, expired, its user disabled or gone), the server may not be used or other tools of it, a
    /// group no longer shares its secrets with him, or nothing can be found out for longer than the rule
    /// allows.
    pub async fn until_denied(&self, mut identity: Identity, permits: Permits) {
        const LONGEST: u64 = 3600;
        let mut default = self.rules.default_access.changes();
        // It may have changed since the permits were made.
        default.mark_changed();
        loop {
            let left = identity
                .key()
                .expires
                .map(|at| at.saturating_sub(now_seconds()));
            let wait = Duration::from_secs(left.unwrap_or(LONGEST).clamp(1, LONGEST));
            tokio::select! {
                () = self.resolver.changed(&identity, wait) => {}
                // Its sender is this gate's too.
                _ = default.changed() => {}
            }
            identity = match self.resolver.again(&identity).await {
                Ok(identity) if stands(&identity).is_ok() => identity,
                _ => return,
            };
            let default = self.rules.default_access.now();
            let now = Permits::of(&identity, default, permits.server());
            if !now.is_some_and(|now| now.go_on_from(&permits)) {
                return;
            }
        }
    }

    async fn unseal(
        &self,
        identity: &Identity,
        door: &Door,
        profile: &ProfileName,
    ) -> Result<Unsealed, Rejection> {
        let sealed = self
            .resolver
            .secrets(identity, door.name.as_str(), profile.as_str());
        let sealed = sealed.await.map_err(|error| match error {
            ResolveError::Unreadable(error) => unreadable(identity, door, profile, &error),
            error => unresolved(error),
        })?;
        let mut unsealed = Unsealed::default();
        for Sealed { set, group } in sealed {
            let opened: Result<SecretSet, _> = door.opener.open_kept(&set);
            let opened = opened.map_err(|error| unreadable(identity, door, profile, &error))?;
            unsealed.add(opened, set.record().version, group);
        }
        Ok(unsealed)
    }
}

/// Whether a proxy says that it passed the request on. Then it may be anybody's, also where only this machine
/// can connect: the user of requests without a key is for who sits at it.
fn was_passed_on(headers: &HeaderMap) -> bool {
    const SAID_BY: [&str; 6] = [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    SAID_BY.iter().any(|name| headers.contains_key(*name))
}
