//! Whatever address a replica has, its certificate is checked against the URL's host.

use std::sync::Arc;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::backend::{HOST, Replica};
use super::{named, users, wrongs};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::redis::authority;

fn acceptor(authority: &Issuer<'_, KeyPair>, name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

// Mutation: the name checked is that of the address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_checked_against_the_host_of_the_url() {
    let (authority, ca) = authority();
    let host = HOST.split(':').next().unwrap();
    let right = Replica::secured("right", Some(acceptor(&authority, host))).await;
    // Good for the address it has, which is not what was asked for.
    let wrong = Replica::secured("wrong", Some(acceptor(&authority, "127.0.0.1"))).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca).unwrap();
    let servers: String = ["many", "old"]
        .map(|name| {
            format!(
                "[servers.{name}]\nurl = \"https://{HOST}/mcp\"\nca_file = {ca_file:?}\n\
                 replicas = [\"{}\", \"{}\"]\n\
                 [servers.{name}.headers]\nAuthorization = \"Bearer ${{TOKEN}}\"\n",
                right.address, wrong.address
            )
        })
        .concat();
    let proxy = Proxy::configured(&Place::Sqlite, &Lines::default(), &servers).await;
    for key in users(&proxy, 12).await {
        let answer = proxy.client().call("many", &key, "x").await;
        assert_eq!(named(&answer), "right");
    }
    assert_eq!(wrongs(&[right, wrong]), 0);
    // Or it was never tried.
    proxy.log_with("cannot be reached").await;
}
