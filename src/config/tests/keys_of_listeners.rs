use super::super::{BackendSocket, Listen};
use super::*;

#[test]
fn a_unix_socket_is_an_address_too() {
    let config = good(&format!(
        "listen = 'unix:/run/mcp.sock'\nhealth_listen = 'unix:health.sock'\n\
         listen_uids = [1000, 1001]\n{GITHUB}"
    ));
    assert_eq!(config.listen, Listen::Unix("/run/mcp.sock".into()));
    assert_eq!(
        config.health_listen,
        Some(Listen::Unix("health.sock".into()))
    );
    assert_eq!(config.listen_uids, Some(vec![1000, 1001]));
    // What calls by it is on this machine: the names need not be said.
    assert_eq!(config.allowed_hosts[0], "localhost");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let uids = [("CLOAKROOM_LISTEN_UIDS", "7, 8")];
    let config = parse(&format!("listen = 'unix:a'\n{GITHUB}"), &uids)
        .ok()
        .unwrap();
    assert_eq!(config.listen_uids, Some(vec![7, 8]));

    bad_line(
        "listen = 'unix:'",
        "10: listen: not a path; write the path of a file",
    );
    bad_line(
        &format!("listen = 'unix:/{}'", "x".repeat(107)),
        "10: listen: is longer than the 107 bytes a Unix socket's path may have; write a shorter one",
    );
    good(&format!("listen = 'unix:/{}'\n{GITHUB}", "x".repeat(106)));
    bad_line(
        "listen_uids = [0]",
        "1: listen_uids: is for a Unix socket only (`listen = \"unix:…\"`); remove it",
    );
    for (uids, says) in [
        (
            "[]",
            "is empty, so nobody could connect; write a list of users' numbers: [1000, 1001]",
        ),
        ("['me']", "write a list of users' numbers: [1000, 1001]"),
        ("[-1]", "write a list of users' numbers: [1000, 1001]"),
        (
            "[4294967295]",
            "write a list of users' numbers: [1000, 1001]",
        ),
        (
            "7",
            "is a number; write a list of users' numbers: [1000, 1001]",
        ),
    ] {
        let text = format!("listen = 'unix:a'\nlisten_uids = {uids}\n{GITHUB}");
        assert_eq!(
            bad(&text),
            format!("cloakroom.toml:2:15: listen_uids: {says}")
        );
    }
    let twice = format!("listen = 'unix:a'\nhealth_listen = 'unix:a'\n{GITHUB}");
    assert!(bad(&twice).contains("health_listen: is the same address as `listen`"));
}

// Fails when the listener, the key or the list is not looked at.
#[test]
fn that_everybody_is_believed_is_said() {
    let open = "allowed_hosts = ['a']\nallowed_origins = []\n";
    for (lines, is_said) in [
        ("listen = '0.0.0.0:1'\nproxy_protocol = 'required'\n", true),
        (
            "listen = '127.0.0.1:1'\nproxy_protocol = 'required'\n",
            false,
        ),
        ("listen = 'unix:a'\nproxy_protocol = 'required'\n", false),
        ("listen = '0.0.0.0:1'\n", false),
        (
            "listen = '0.0.0.0:1'\nproxy_protocol = 'required'\ntrusted_proxies = ['10.0.0.0/8']\n",
            false,
        ),
    ] {
        let warnings = good(&format!("{lines}{open}{GITHUB}")).warnings;
        let said = warnings
            .iter()
            .any(|warning| warning.starts_with("proxy_protocol: whoever can connect is believed"));
        assert_eq!(said, is_said, "{lines} {warnings:?}");
    }
}

#[test]
fn keys_do_not_travel_in_plain_text_unsaid() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["a.crt", "a.key", "ca.pem"] {
        std::fs::write(path(name), "").unwrap();
    }
    let open = "listen = '0.0.0.0:8080'\nallowed_hosts = ['a']\nallowed_origins = []\n";
    let warnings = good(&format!("{open}{GITHUB}")).warnings;
    assert!(
        matches!(&warnings[..], [one] if one.starts_with("listen: keys travel unencrypted unless")),
        "{warnings:?}"
    );
    let pair = format!(
        "[tls]\ncert_file = '{}'\nkey_file = '{}'\n",
        path("a.crt"),
        path("a.key")
    );
    let config = good(&format!("{open}{pair}{GITHUB}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let tls = config.tls.unwrap();
    assert_eq!(tls.cert_file.display().to_string(), path("a.crt"));
    assert!(tls.client_ca_file.is_none());
    let ca = format!("client_ca_file = '{}'\n", path("ca.pem"));
    assert!(
        good(&format!("{pair}{ca}{GITHUB}"))
            .tls
            .unwrap()
            .client_ca_file
            .is_some()
    );
    assert!(good(&format!("[tls]\n{GITHUB}")).tls.is_none());

    for (lines, says) in [
        (
            format!("[tls]\n{ca}"),
            "tls.client_ca_file: needs `cert_file` and `key_file` too: ",
        ),
        (
            format!("[tls]\ncert_file = '{}'\n", path("a.crt")),
            "tls.cert_file: needs `key_file` too: ",
        ),
        (
            format!("[tls]\nkey_file = '{}'\n", path("a.key")),
            "tls.key_file: needs `cert_file` too: ",
        ),
        (
            format!("[tls]\ncert_file = '{}'\n", path("b.crt")),
            "tls.cert_file: cannot be read (",
        ),
        (
            format!("listen = 'unix:a'\n{pair}"),
            "tls.cert_file: a Unix socket has no TLS: ",
        ),
        (
            "tls = 7\n".to_owned(),
            "tls: is a number; write a table: `[tls]`",
        ),
    ] {
        let errors = bad(&format!("{lines}{GITHUB}"));
        assert!(errors.contains(says), "{errors}");
    }
}

#[test]
fn proxies_in_front_are_named() {
    let config = good(&format!(
        "proxy_protocol = 'required'\ntrusted_proxies = ['10.0.0.0/8', '::1', 'unix:']\n{GITHUB}"
    ));
    let trusted = &config.trusted_proxies;
    let networks: Vec<_> = trusted.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert!(config.proxy_protocol && trusted.unix);
    let plain = good(GITHUB);
    assert!(
        !plain.proxy_protocol && plain.trusted_proxies == super::super::TrustedProxies::default()
    );

    for protocol in ["true", "'on'", "'v2'"] {
        let errors = bad(&format!("proxy_protocol = {protocol}\n{GITHUB}"));
        assert!(
            errors.contains("write \"off\", or \"required\" when a proxy"),
            "{errors}"
        );
    }
    for network in ["10.0.0.0/33", "example.com", "", "10.0.0", "unix:/a"] {
        let errors = bad(&format!("trusted_proxies = ['{network}']\n{GITHUB}"));
        assert!(
            errors.contains("1:20: trusted_proxies[0]: not a network; write one"),
            "{errors}"
        );
    }
    for network in ["0.0.0.0/0", "::/0"] {
        let errors = bad(&format!("trusted_proxies = ['{network}']\n{GITHUB}"));
        assert!(errors.contains("trusts the whole world"), "{errors}");
    }
}

#[test]
fn a_server_may_be_behind_a_socket() {
    let socket = |config: &Config| {
        let Backend::Http { socket, .. } = &config.servers.values().next().unwrap().backend else {
            panic!("a URL")
        };
        socket.clone()
    };
    let of = |uid| BackendSocket {
        path: "/run/a.sock".into(),
        uid,
    };
    let path = "socket = '/run/a.sock'";
    assert_eq!(socket(&good(&format!("{GITHUB}{path}"))), Some(of(None)));
    let config = good(&format!(
        "[servers.a]\nsse_url = 'http://far/sse'\n{path}\nsocket_uid = 7\nheaders = {{ X-A = '${{A}}' }}"
    ));
    assert_eq!(socket(&config), Some(of(Some(7))));
    assert!(
        config.warnings.is_empty(),
        "nothing travels: {:?}",
        config.warnings
    );
    bad_server_line(
        "socket_uid = 7",
        "1: servers.github.socket_uid: is for a `socket` only; remove it",
    );
    bad_server_line(
        "socket = ''",
        "10: servers.github.socket: not a path; write the path of a file",
    );
    let errors = bad(&format!("{GITHUB}{path}\nsocket_uid = 'me'"));
    assert!(
        errors.contains("socket_uid: write the number of a user (uid), without quotes"),
        "{errors}"
    );
    let errors = bad(&format!("[servers.a]\nurl = 'https://a/mcp'\n{path}"));
    assert!(
        errors.contains("servers.a.socket: has no TLS; write `url` with http://"),
        "{errors}"
    );
}

// Fails when the names of one listener are taken for those of the other, or need not be said.
#[test]
fn the_admin_listener_has_names_of_its_own() {
    let config = good(&format!(
        "admin_listen = 'unix:admin.sock'\nlisten_uids = [7]\n{GITHUB}"
    ));
    assert_eq!(config.admin_listen, Some(Listen::Unix("admin.sock".into())));
    assert_eq!(
        config.admin_allowed_hosts,
        ["localhost", "127.0.0.1", "[::1]"]
    );
    assert!(config.admin_allowed_origins.is_empty());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let text = format!(
        "admin_listen = '[::1]:8081'\nadmin_allowed_hosts = ['Admin.example:1']\n\
         admin_allowed_origins = ['https://A.example']\n{GITHUB}"
    );
    let config = good(&text);
    assert_eq!(config.admin_allowed_hosts, ["admin.example:1"]);
    assert_eq!(config.admin_allowed_origins, ["https://a.example"]);
    assert_eq!(config.allowed_hosts[0], "localhost");
    let says = bad(&format!("admin_listen = '0.0.0.0:8081'\n{GITHUB}"));
    assert!(
        says.contains(
            "admin_allowed_hosts: must be set, since `admin_listen` is not a loopback address"
        ),
        "{says}"
    );
    let says = bad(&format!("admin_allowed_hosts = []\n{GITHUB}"));
    assert!(says.contains("admin_allowed_hosts: is empty"), "{says}");
}
