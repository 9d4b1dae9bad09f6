//! `check` asks what stands behind the proxy, and what it says is what to do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::House;

/// A server that gives every connection this answer; its address.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn table(name: &str, url: &str) -> String {
    format!("[servers.{name}]\nurl = \"{url}\"\n")
}

/// The finding about one thing: its state and what it says.
fn finding<'d>(document: &'d Value, what: &str) -> (&'d str, &'d str) {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|f| f["what"] == what);
    let found = found.unwrap_or_else(|| panic!("nothing of {what} in {document}"));
    (
        found["state"].as_str().unwrap(),
        found["says"].as_str().unwrap(),
    )
}

#[test]
fn every_server_is_asked_and_what_is_wrong_is_told_with_its_remedy() {
    let house = House::new();
    let well = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n\
                {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}    ";
    let wants = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /mcp/\r\nContent-Length: 0\r\n\r\n";
    let lost = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let (well, wants) = (answering(well), answering(wants));
    let (moved, lost, ssh) = (
        answering(moved),
        answering(lost),
        answering("SSH-2.0-x\r\n"),
    );
    // Accepts, for the system does, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = [
        ("well", format!("http://{well}/mcp")),
        ("wants", format!("http://{wants}/mcp")),
        ("moved", format!("http://{moved}/mcp")),
        ("lost", format!("http://{lost}/")),
        ("ssh", format!("http://{ssh}/mcp")),
        ("plain", format!("https://{well}/mcp")),
        ("refused", "http://127.0.0.1:9/mcp".to_owned()),
        ("unknown", "http://nobody.invalid/mcp".to_owned()),
        (
            "silent",
            format!("http://{}/mcp", silent.local_addr().unwrap()),
        ),
        (
            "silent-too",
            format!("http://{}/mcp", silent.local_addr().unwrap()),
        ),
    ];
    let tables: String = servers.iter().map(|(name, url)| table(name, url)).collect();
    let config = format!("listen = \"127.0.0.1:0\"\n{tables}");
    fs::write(house.path("cloakroom.toml"), config).unwrap();

    let begun = Instant::now();
    let done = house.run("check --json", "");
    // Two are silent for five seconds each. Fails when they are asked one after the other.
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(done.code, 1, "{}", done.err);
    let document = done.document();
    for (server, state, says) in [
        ("well", "ok", "speaks MCP"),
        ("wants", "ok", "wants a credential (401)"),
        ("moved", "error", "redirects (307) to /mcp/"),
        ("lost", "warning", "path of its endpoint"),
        ("ssh", "error", "does not speak HTTP"),
        ("plain", "error", "write http://"),
        ("refused", "error", "start it"),
        ("unknown", "error", "no address is known for nobody.invalid"),
        ("silent", "error", "does not answer within 5s"),
    ] {
        let (is, said) = finding(&document, &format!("servers.{server}"));
        assert!(is == state && said.contains(says), "{server}: {is} {said}");
    }

    // Nobody is asked. Fails when --offline is not looked at.
    let done = house.run("check --json --offline", "");
    assert_eq!(done.code, 0, "{}", done.out);
    assert!(
        !done.out.contains("servers.lost") && !done.out.contains("\"store\""),
        "{}",
        done.out
    );
}

#[test]
fn a_certificate_that_is_not_trusted_names_ca_file() {
    let (port, certificate) = secured("403 Forbidden");
    let house = House::new();
    let check = |ca_file: &str, file: &str| {
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(house.path("other.pem"), other.cert.pem()).unwrap();
        fs::write(house.path("empty.pem"), file).unwrap();
        fs::write(house.path("own.pem"), &certificate).unwrap();
        let server = table("tls", &format!("https://localhost:{port}/mcp"));
        let config = format!("listen = \"127.0.0.1:0\"\n{server}ca_file = \"{ca_file}\"\n");
        fs::write(house.path("cloakroom.toml"), config).unwrap();
        house.run("check --json", "").document()
    };
    let document = check("other.pem", "");
    let (state, said) = finding(&document, "servers.tls");
    assert!(
        state == "error" && said.contains("not trusted") && said.contains("`ca_file`"),
        "{said}"
    );
    let document = check("own.pem", "");
    assert_eq!(finding(&document, "servers.tls").0, "ok", "{document}");
    let document = check("empty.pem", "hunter2");
    let (state, said) = finding(&document, "servers.tls");
    assert!(
        state == "error" && said.contains("empty.pem") && !said.contains("hunter2"),
        "{said}"
    );
}

/// A server with TLS for `localhost`, which answers everything with this status; its port and its
/// certificate.
fn secured(status: &'static str) -> (u16, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, stream.unwrap());
            let _ = stream.read(&mut [0; 4096]);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, certificate.pem())
}

// Fails when a replica is only connected to, when the name checked is that of its address, and when
// one that is wrong hides another.
#[test]
fn every_replica_is_asked_as_the_server_it_stands_for() {
    let house = House::new();
    let (right, pem) = secured("403 Forbidden");
    let (stranger, _) = secured("403 Forbidden");
    fs::write(house.path("own.pem"), pem).unwrap();
    let replicas = format!(
        "replicas = ['127.0.0.1:{right}', '127.0.0.1:{stranger}', '127.0.0.1:9', '[::1]:9']\n"
    );
    let server = table("many", "https://localhost:1/mcp");
    let config = format!("listen = '127.0.0.1:0'\n{server}ca_file = 'own.pem'\n{replicas}");
    fs::write(house.path("cloakroom.toml"), config).unwrap();
    let done = house.run("check --json", "");
    assert_eq!(done.code, 1, "{}", done.out);
    let document = done.document();
    for (replica, state, says) in [
        (format!("127.0.0.1:{right}"), "ok", "wants a credential"),
        (format!("127.0.0.1:{stranger}"), "error", "not trusted"),
        ("127.0.0.1:9".to_owned(), "error", "cannot be reached"),
        ("[::1]:9".to_owned(), "error", "[::1]:9 cannot be reached"),
    ] {
        let (is, said) = finding(&document, &format!("servers.many ({replica})"));
        assert!(is == state && said.contains(says), "{replica}: {is} {said}");
    }
}

// Fails when the user of the process behind the socket is not looked at.
#[test]
fn a_socket_of_a_user_who_was_not_meant_is_told_with_the_line_to_write() {
    let house = House::new();
    let _listening = UnixListener::bind(house.path("s.sock")).unwrap();
    let own = rustix::process::geteuid().as_raw();
    let check = |uid: &str| {
        let server = table("local", "http://localhost/mcp");
        let config = format!("listen = '127.0.0.1:0'\n{server}socket = 's.sock'\n{uid}");
        fs::write(house.path("cloakroom.toml"), config).unwrap();
        let document = house.run("check --json", "").document();
        let (state, said) = finding(&document, "servers.local");
        (state.to_owned(), said.to_owned())
    };
    assert_eq!(check("").0, "ok");
    assert_eq!(check(&format!("socket_uid = {own}")).0, "ok");
    let (state, said) = check(&format!("socket_uid = {}", own + 1));
    assert!(
        state == "error" && said.contains(&format!("set socket_uid = {own}")),
        "{said}"
    );
}

#[test]
fn addresses_that_cannot_be_had_or_are_open_to_others_are_told() {
    let house = House::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let write = |listen: &str| {
        let root = format!("listen = \"{listen}\"\nallowed_hosts = ['h']\nallowed_origins = []\n");
        fs::write(house.path("cloakroom.toml"), root + super::CONFIG).unwrap();
        house.run("check --offline --json", "")
    };
    let done = write(&taken.local_addr().unwrap().to_string());
    let document = done.document();
    let (state, said) = finding(&document, "listen");
    assert!(
        done.code == 0 && state == "warning" && said.contains("is in use"),
        "{said}"
    );
    // An address of nobody (TEST-NET-1 of RFC 5737).
    let done = write("192.0.2.1:8080");
    let document = done.document();
    let (state, said) = finding(&document, "listen");
    assert!(
        done.code == 1 && state == "error" && said.contains("of this machine"),
        "{said}"
    );
    let done = write("0.0.0.0:0");
    let text = done.document().to_string();
    assert!(
        done.code == 0 && text.contains("keys travel unencrypted"),
        "{text}"
    );
}

// Fails when a command is not looked for, what no child may read is not looked at, or `data_dir` is not.
#[test]
fn what_keeps_children_from_starting_is_told() {
    let house = House::new();
    fs::write(house.path("file"), "").unwrap();
    let check = |data_dir: &str, server: &str| {
        let root = format!("listen = '127.0.0.1:0'\ndata_dir = '{data_dir}'\n");
        let config = format!("{root}[servers.child]\n{server}\n");
        fs::write(house.path("cloakroom.toml"), config).unwrap();
        house.run("check --json --offline", "")
    };
    let none = "sandbox = 'none'";
    for (command, state, says) in [
        ("['sh', '-c', 'true']", "ok", "sh can be started"),
        (
            "['no-such-program']",
            "error",
            "`no-such-program` is not in PATH",
        ),
        (
            "['./server']",
            "error",
            "must be an absolute path, or a name",
        ),
        (
            "['npx', '-y', 'some-server@1.2.3']",
            "ok",
            "starts the package some-server",
        ),
        (
            "['npx', '-y', '../here']",
            "error",
            "name the program itself in `command`",
        ),
    ] {
        let done = check("data", &format!("command = {command}\n{none}"));
        let document = done.document();
        let (is, said) = finding(&document, "servers.child");
        assert!(is == state && said.contains(says), "{command}: {is} {said}");
        assert_eq!(done.code, i32::from(state == "error"), "{command}");
    }
    let document = check("data", &format!("command = ['sh']\n{none}")).document();
    let all = document["findings"].as_array().unwrap();
    let told = all.iter().any(|f| {
        let says = f["says"].as_str().unwrap();
        f["state"] == "warning" && says.starts_with("its children are not contained")
    });
    assert!(told, "{document}");

    for (data_dir, state, says) in [
        ("data", "ok", "can be made"),
        (".", "ok", "is there"),
        ("file/data", "error", "is no folder; write another path"),
    ] {
        let document = check(data_dir, &format!("command = ['sh']\n{none}")).document();
        let (is, said) = finding(&document, "data_dir");
        assert!(
            is == state && said.contains(says),
            "{data_dir}: {is} {said}"
        );
    }
    assert!(!house.path("data").exists(), "it was made");

    // With the sandbox, where the kernel has it: the program must not lie where the keyring does.
    if finding(&check("data", "command = ['sh']").document(), "sandbox").0 == "error" {
        return;
    }
    fs::copy("/bin/sh", house.path("server")).unwrap();
    let server = format!("command = ['{}']", house.path("server").display());
    let document = check("data", &format!("{server}\nreadable = ['.']")).document();
    let (is, said) = finding(&document, "servers.child");
    assert!(
        is == "error" && said.contains("must not be: move one of them"),
        "{said}"
    );
    // A server at a URL needs none of it.
    fs::write(house.path("cloakroom.toml"), super::CONFIG).unwrap();
    let document = house.run("check --json --offline", "").document();
    assert!(!document.to_string().contains("data_dir"), "{document}");
}
