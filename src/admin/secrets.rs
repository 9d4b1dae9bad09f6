//! Secrets of users and groups. Values go in and never come out: names, versions and dates do.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Actor, Administrator, Reader};
use super::body::{Asked, At, Hidden, Json};
use super::page::Page;
use super::problem::Problem;
use super::words::{Group, Profile, Secret, Server, User};
use super::{Desk, Shared};
use crate::audit::Deed;
use crate::names::{ProfileName, SecretName, ServerName};
use crate::vault::{Owner, SecretInfo, date};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_of_user))
        .routes(routes!(set_of_user, delete_of_user))
        .routes(routes!(delete_all_of_user))
        .routes(routes!(list_of_group))
        .routes(routes!(set_of_group, delete_of_group))
        .routes(routes!(delete_all_of_group))
        .routes(routes!(set_plainly))
        .routes(routes!(delete_plainly))
}

/// A secret to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretToSet {
    value: Hidden,
    /// `default` unless said.
    profile: Option<Profile>,
}

/// A secret to set, all in one body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PlainSecret {
    username: User,
    server_name: Server,
    secret_name: Secret,
    secret_value: Hidden,
    /// `default` unless said.
    profile: Option<Profile>,
}

/// A secret to delete, all in one body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PlainSecretToDelete {
    username: User,
    server_name: Server,
    secret_name: Secret,
    /// `default` unless said.
    profile: Option<Profile>,
}

/// Of which profile.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfProfile {
    /// `default` unless said.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9._-]{1,63}$")]
    profile: Option<Profile>,
}

/// What became of a secret.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretChanged {
    /// `set` or `deleted`.
    status: &'static str,
    /// `user` or `group`.
    owner_kind: &'static str,
    owner: String,
    server: String,
    profile: String,
    /// Its name; none when all of the profile were meant.
    name: Option<String>,
    /// What is probably not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// Whether every copy of the store is known to have what was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_all_copies: Option<bool>,
}

/// A secret, without its value.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretDocument {
    server: String,
    profile: String,
    name: String,
    /// Of its set: all secrets of the server and the profile.
    #[schema(minimum = 0)]
    version: u64,
    /// When its set was last changed.
    #[schema(format = DateTime)]
    set_changed: String,
}

/// Secrets, without their values.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretList {
    secrets: Vec<SecretDocument>,
    /// The cursor of the next page.
    next: Option<String>,
}

/// Which secrets are meant.
struct Target {
    owner: Owner,
    server: ServerName,
    profile: ProfileName,
    name: Option<SecretName>,
}

impl Target {
    fn new(owner: Owner, server: Server, profile: Option<Profile>, name: Option<Secret>) -> Self {
        let profile = profile.map(|profile| profile.0);
        Self {
            owner,
            server: server.0,
            profile: profile.unwrap_or_else(ProfileName::default_profile),
            name: name.map(|name| name.0),
        }
    }

    fn changed(self, status: &'static str) -> SecretChanged {
        SecretChanged {
            status,
            owner_kind: self.owner.kind(),
            owner: self.owner.name().to_owned(),
            server: self.server.to_string(),
            profile: self.profile.to_string(),
            name: self.name.map(|name| name.to_string()),
            warning: None,
            on_all_copies: None,
        }
    }
}

impl Desk {
    async fn secrets(&self, owner: Owner, page: &Page) -> Result<Answer<SecretList>, Problem> {
        let place = |secret: &SecretInfo| {
            let SecretInfo {
                server,
                profile,
                name,
                ..
            } = secret;
            format!("{server}/{profile}/{name}")
        };
        let (secrets, next) = page.of(self.vault.secrets(owner).await?, place)?;
        let document = |secret: SecretInfo| SecretDocument {
            set_changed: date(secret.version / 1_000_000),
            server: secret.server,
            profile: secret.profile,
            name: secret.name,
            version: secret.version,
        };
        let secrets = secrets.into_iter().map(document).collect();
        Ok(Answer(SecretList { secrets, next }))
    }
}

async fn set(
    desk: &Shared,
    actor: &Actor,
    target: Target,
    value: Hidden,
) -> Result<Answer<SecretChanged>, Problem> {
    let known = desk.known.now();
    let server = known.servers.get(&target.server).ok_or_else(|| {
        let names: Vec<_> = known.servers.keys().map(ServerName::as_str).collect();
        let names = names.join(", ");
        Problem::not_there(
            "no-server",
            format!("the configuration has no such server; there is {names}"),
        )
    })?;
    let Some(name) = target.name.clone() else {
        return Err(Problem::internal());
    };
    let value = value.value()?;
    if server.in_headers.contains(&name) {
        value.fits_header()?;
    }
    let warning = (!server.uses(&name)).then(|| {
        let names: Vec<_> = server.secrets.iter().map(SecretName::as_str).collect();
        format!(
            "no slot of the server uses it, so it will go nowhere; its slots use: {}",
            names.join(", ")
        )
    });
    let Target {
        owner,
        server,
        profile,
        ..
    } = &target;
    let deed = Deed::secret_set(owner, server, profile, &name);
    let inner = desk.clone();
    let work = async move {
        let Target {
            owner,
            server,
            profile,
            ..
        } = &target;
        inner
            .vault
            .set_secret(owner, server, profile, &name, &value)
            .await?;
        Ok(target.changed("set"))
    };
    let changed = desk.act(actor, deed, work).await?;
    Ok(Answer(SecretChanged { warning, ..changed }))
}

async fn delete(
    desk: &Shared,
    actor: &Actor,
    target: Target,
) -> Result<Answer<SecretChanged>, Problem> {
    let Target {
        owner,
        server,
        profile,
        name,
    } = &target;
    let deed = Deed::secret_delete(owner, server, profile, name.as_ref());
    let inner = desk.clone();
    let work = async move {
        let Target {
            owner,
            server,
            profile,
            name,
        } = &target;
        match name {
            Some(name) => {
                inner
                    .vault
                    .delete_secret(owner, server, profile, name)
                    .await?
            }
            None => inner.vault.delete_secrets(owner, server, profile).await?,
        }
        let on_all_copies = Some(inner.on_all_copies().await?);
        let changed = target.changed("deleted");
        Ok(SecretChanged {
            on_all_copies,
            ..changed
        })
    };
    desk.act(actor, deed, work).await.map(Answer)
}

/// List a user's secrets, without their values
#[utoipa::path(get, path = "/users/{user}/secrets", tag = "secrets", params(Page),
    responses((status = 200, description = "A page of them", body = SecretList)))]
async fn list_of_user(
    _: Reader,
    State(desk): State<Shared>,
    At(user): At<User>,
    Asked(page): Asked<Page>,
) -> Result<Answer<SecretList>, Problem> {
    desk.secrets(Owner::User(user.0), &page).await
}

/// Set a user's secret
#[utoipa::path(put, path = "/users/{user}/secrets/{server}/{secret}", tag = "secrets",
    request_body = SecretToSet,
    responses((status = 200, description = "Set", body = SecretChanged)))]
async fn set_of_user(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((user, server, name)): At<(User, Server, Secret)>,
    Json(body): Json<SecretToSet>,
) -> Result<Answer<SecretChanged>, Problem> {
    let target = Target::new(Owner::User(user.0), server, body.profile, Some(name));
    set(&desk, &actor, target, body.value).await
}

/// Delete a user's secret
#[utoipa::path(delete, path = "/users/{user}/secrets/{server}/{secret}", tag = "secrets",
    params(OfProfile),
    responses((status = 200, description = "Deleted", body = SecretChanged)))]
async fn delete_of_user(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((user, server, name)): At<(User, Server, Secret)>,
    Asked(of): Asked<OfProfile>,
) -> Result<Answer<SecretChanged>, Problem> {
    let target = Target::new(Owner::User(user.0), server, of.profile, Some(name));
    delete(&desk, &actor, target).await
}

/// Delete all secrets of a user for a server, in one profile
#[utoipa::path(delete, path = "/users/{user}/secrets/{server}", tag = "secrets", params(OfProfile),
    responses((status = 200, description = "Deleted", body = SecretChanged)))]
async fn delete_all_of_user(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((user, server)): At<(User, Server)>,
    Asked(of): Asked<OfProfile>,
) -> Result<Answer<SecretChanged>, Problem> {
    let target = Target::new(Owner::User(user.0), server, of.profile, None);
    delete(&desk, &actor, target).await
}

/// List the secrets a group shares, without their values
#[utoipa::path(get, path = "/groups/{group}/secrets", tag = "secrets", params(Page),
    responses((status = 200, description = "A page of them", body = SecretList)))]
async fn list_of_group(
    _: Reader,
    State(desk): State<Shared>,
    At(group): At<Group>,
    Asked(page): Asked<Page>,
) -> Result<Answer<SecretList>, Problem> {
    desk.secrets(Owner::Group(group.0), &page).await
}

/// Set a secret that a group shares
#[utoipa::path(put, path = "/groups/{group}/secrets/{server}/{secret}", tag = "secrets",
    request_body = SecretToSet,
    responses((status = 200, description = "Set", body = SecretChanged)))]
async fn set_of_group(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((group, server, name)): At<(Group, Server, Secret)>,
    Json(body): Json<SecretToSet>,
) -> Result<Answer<SecretChanged>, Problem> {
    let target = Target::new(Owner::Group(group.0), server, body.profile, Some(name));
    set(&desk, &actor, target, body.value).await
}

/// Delete a secret that a group shares
#[utoipa::path(delete, path = "/groups/{group}/secrets/{server}/{secret}", tag = "secrets",
    params(OfProfile),
    responses((status = 200, description = "Deleted", body = SecretChanged)))]
async fn delete_of_group(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((group, server, name)): At<(Group, Server, Secret)>,
    Asked(of): Asked<OfProfile>,
) -> Result<Answer<SecretChanged>, Problem> {
    let target = Target::new(Owner::Group(group.0), server, of.profile, Some(name));
    delete(&desk, &actor, target).await
}

/// Delete all secrets a group shares for a server, in one profile
#[utoipa::path(delete, path = "/groups/{group}/secrets/{server}", tag = "secrets", params(OfProfile),
    responses((status = 200, description = "Deleted", body = SecretChanged)))]
async fn delete_all_of_group(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((group, server)): At<(Group, Server)>,
    Asked(of): Asked<OfProfile>,
) -> Result<Answer<SecretChanged>, Problem> {
    let target = Target::new(Owner::Group(group.0), server, of.profile, None);
    delete(&desk, &actor, target).await
}

/// Set a user's secret, all in one body
#[utoipa::path(post, path = "/secrets/set", tag = "secrets", request_body = PlainSecret,
    responses((status = 200, description = "Set", body = SecretChanged)))]
async fn set_plainly(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    Json(body): Json<PlainSecret>,
) -> Result<Answer<SecretChanged>, Problem> {
    let owner = Owner::User(body.username.0);
    let target = Target::new(
        owner,
        body.server_name,
        body.profile,
        Some(body.secret_name),
    );
    set(&desk, &actor, target, body.secret_value).await
}

/// Delete a user's secret, all in one body
#[utoipa::path(post, path = "/secrets/delete", tag = "secrets", request_body = PlainSecretToDelete,
    responses((status = 200, description = "Deleted", body = SecretChanged)))]
async fn delete_plainly(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    Json(body): Json<PlainSecretToDelete>,
) -> Result<Answer<SecretChanged>, Problem> {
    let owner = Owner::User(body.username.0);
    let target = Target::new(
        owner,
        body.server_name,
        body.profile,
        Some(body.secret_name),
    );
    delete(&desk, &actor, target).await
}
