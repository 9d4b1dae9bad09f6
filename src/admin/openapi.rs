//! All routes, and the document that describes them (OpenAPI 3.1).
//!
//! What every route has in common, its problems, its key and what stands in its path, is added here for all
//! of them, so that no route can forget it.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::problem::{Document, Problem};
use super::words::{Group, KeyName, Secret, Server, User};
use super::{Shared, access, admin_keys, groups, keys, secrets, status, usage, users};

/// The name of the one way to authenticate.
const KEY: &str = "admin_key";

/// Every route, and what answers where there is none.
pub(super) fn router() -> Router<Shared> {
    let (router, document) = OpenApiRouter::with_openapi(begun())
        .merge(users::router())
        .merge(access::router())
        .merge(keys::router())
        .merge(groups::router())
        .merge(secrets::router())
        .merge(admin_keys::router())
        .merge(usage::router())
        .merge(status::router())
        .split_for_parts();
    let text = completed(document).to_json().expect("a document of texts");
    let text = Bytes::from(text);
    router
        .route("/openapi.json", get(move || async move { served(text) }))
        .fallback(async || Problem::no_path())
        .method_not_allowed_fallback(async || Problem::no_method())
}

fn served(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn begun() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"));
    let info = InfoBuilder::new()
        .title("Cloakroom admin API")
        .description(Some(
            "Users, groups, keys, access and secrets. Every list comes in pages: `next` is the `cursor` of the \
             page that follows. Every error is a problem document (RFC 9457) that says what to do.",
        ))
        .license(Some(license.build()))
        .version(env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new().info(info).build()
}

fn completed(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            complete(path, operation);
        }
    }
    let components = document.components.get_or_insert_default();
    components
        .schemas
        .insert("Problem".to_owned(), Document::schema());
    let mut others = Vec::new();
    Document::schemas(&mut others);
    components.schemas.extend(others);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An administrator's key: `cla_…`, from `cloakroom admin key issue NAME`.",
        ))
        .build();
    components.add_security_scheme(KEY, SecurityScheme::Http(scheme));
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().filter_map(Option::as_mut)
}

fn complete(path: &str, operation: &mut Operation) {
    let named: Vec<_> = path.split('/').filter_map(parameter).collect();
    let has_body = operation.request_body.is_some();
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        body.required = Some(Required::True);
    }
    let needs_key = operation.security.is_none();
    if needs_key {
        let none: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new(KEY, none)]);
    }
    for status in problems(needs_key, has_body, !named.is_empty()) {
        let content = ContentBuilder::new()
            .schema(Some(RefOr::<Schema>::Ref(Ref::from_schema_name("Problem"))));
        let response = ResponseBuilder::new()
            .description(status.canonical_reason().unwrap_or("An error"))
            .content("application/problem+json", content.build());
        let responses = &mut operation.responses.responses;
        responses.insert(status.as_u16().to_string(), response.build().into());
    }
    operation
        .parameters
        .get_or_insert_default()
        .splice(0..0, named.into_iter().map(RefOr::T));
}

/// The statuses of the problems a route may answer.
fn problems(needs_key: bool, has_body: bool, has_names: bool) -> Vec<StatusCode> {
    let mut all = vec![
        StatusCode::FORBIDDEN,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if needs_key {
        all.extend([
            StatusCode::UNAUTHORIZED,
            StatusCode::BAD_REQUEST,
            StatusCode::CONFLICT,
            StatusCode::UNPROCESSABLE_ENTITY,
        ]);
    }
    if has_body {
        all.extend([
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ]);
    }
    if has_body || has_names {
        all.push(StatusCode::NOT_FOUND);
    }
    all
}

/// What a part of a path stands for.
fn parameter(part: &str) -> Option<Parameter> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    let schema = match name {
        "user" => User::schema(),
        "group" => Group::schema(),
        "server" => Server::schema(),
        "secret" => Secret::schema(),
        "key_id" => KeyName::schema(),
        other => unreachable!("{other} has no schema"),
    };
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema));
    Some(parameter.build())
}
