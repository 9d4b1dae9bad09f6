//! What both examples share: Cloakroom's layer over the store and keyring of a folder, and the check of
//! Host that belongs before it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use cloakroom::cli::open;
use cloakroom::gate::{Door, Gate, Rules};
use cloakroom::inject::Slots;
use cloakroom::layer::{CloakroomLayer, Limits, Routes};
use cloakroom::names::ServerName;
use cloakroom::resolve::{Resolver, Settings};
use cloakroom::store::{self, StoreUrl};
use cloakroom::vault::{Beacon, Reader, Vault};

/// `EXAMPLE FOLDER [ADDRESS]`: puts the layer around `app` and serves it.
pub(crate) async fn serve(app: Router) -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let room = PathBuf::from(args.next().ok_or("usage: EXAMPLE FOLDER [ADDRESS]")?);
    let address = args.next().and_then(|text| text.into_string().ok());
    let address = address.unwrap_or_else(|| "127.0.0.1:9090".to_owned());
    // What is added last is passed first.
    let app = app
        .layer(cloakroom(room).await?)
        .layer(middleware::from_fn(only_this_machine));
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// A web page whose name was made to lead to loopback (DNS rebinding) still says its own name. The layer
/// does not look, and what is inside it sees no Host of a client's.
async fn only_this_machine(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let name = host.and_then(|host| {
        host.rsplit_once(':')
            .map_or(Some(host), |(name, _)| Some(name))
    });
    if matches!(name, Some("localhost" | "127.0.0.1" | "[::1]")) {
        return next.run(request).await;
    }
    StatusCode::MISDIRECTED_REQUEST.into_response()
}

/// The layer before a server called `demo`.
async fn cloakroom(room: PathBuf) -> Result<CloakroomLayer, Box<dyn Error>> {
    // Who there is and what they keep, sealed; and the keys that open it. A keyring that is not
    // this store's is refused here and not by every request.
    let ring = Arc::new(open::keyring(&room.join("master.keys").into())?);
    let url = StoreUrl::parse("sqlite:cloakroom.db", &room)?;
    let store = store::open(&store::Settings::new(url)).await?;
    let vault = Vault::new(store.clone(), ring.clone());
    vault.check_keyring().await?;

    // Where the server expects what: the names in ${…} are those of `cloakroom secret set`.
    let server = ServerName::parse("demo")?;
    let slots = Slots::parse([("Authorization", "Bearer ${DEMO_TOKEN}")])?;
    let door = Door::open(&ring, server.clone(), slots)?;

    // `keyring rotate` waits for every process that says it is there, and for no other.
    let mut beacon = Beacon::new(vault, "example".to_owned(), std::slice::from_ref(&server));
    tokio::spawn(async move {
        loop {
            if let Err(error) = beacon.show().await {
                eprintln!("the store could not be told that this process serves: {error}");
            }
            tokio::time::sleep(Beacon::EVERY).await;
        }
    });

    let resolver = Resolver::new(store, Reader::new(ring), &Settings::default());
    let gate = Gate::new(resolver, [door], Rules::default());
    let routes = Routes::One(server);
    Ok(CloakroomLayer::new(
        Arc::new(gate),
        routes,
        Limits::default(),
    ))
}
