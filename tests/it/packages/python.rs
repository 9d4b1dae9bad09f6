//! `uvx …`, with uv and without.

use super::*;

const COWSAY: &str = "uvx --from cowsay==6.1 cowsay -t moo";

/// A `PATH` with this machine's Python and what its system has, and `first`.
fn path(first: &str) -> (tempfile::TempDir, String) {
    let python = only("python3");
    let path = format!("{first}:{}:/usr/bin:/bin", python.path().display());
    (python, path)
}

/// Installs uv, by pip; the folder it is in.
async fn uv(cache: &Path) -> String {
    let (_python, path) = path("/nowhere");
    let packages = Packages::at(cache, environment(&[("PATH", &path)]));
    let uv = resolve(&packages, "uvx uv@0.13.9 --version").await.unwrap();
    assert_eq!(uv.version, "0.13.9");
    // Not Python: started as it is.
    assert_eq!(uv.command.len(), 2, "{uv:?}");
    assert!(said(&uv).starts_with("uv 0.13.9"));
    let folder = Path::new(&uv.command[0]).parent().unwrap();
    folder.to_str().unwrap().to_owned()
}

/// uv is installed for both, by pip.
#[tokio::test]
async fn uvx_lines_with_uv_and_without() {
    let root = tempfile::tempdir().unwrap();
    let uv = uv(&root.path().join("uv")).await;
    for (first, tool) in [("/nowhere", "pip"), (uv.as_str(), "uv")] {
        let cache = root.path().join("of").join(tool);
        starts_without_tools_and_network(&cache, first, tool).await;
        says_what_to_do(&cache, first).await;
    }
}

// Mutation: start the script by its own first line, which names the folder it was installed in.
async fn starts_without_tools_and_network(cache: &Path, first: &str, tool: &str) {
    let (_python, path) = path(first);
    let packages = || Packages::at(cache, environment(&[("PATH", &path)]));
    let (one, other) = (packages(), packages());
    let (one, other) = tokio::join!(resolve(&one, COWSAY), resolve(&other, COWSAY));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one, other);
    assert!(said(&one).contains("| moo |"), "{}", said(&one));
    assert_eq!(
        (one.package.as_str(), one.version.as_str()),
        ("cowsay", "6.1")
    );
    assert_eq!(writable(&one.folder), [] as [&Path; 0]);
    let manifest = fs::read_to_string(one.folder.join("cloakroom-package.json")).unwrap();
    assert_eq!(manifest.contains("--no-build"), tool == "uv", "{manifest}");
    let by_pip = manifest.contains("--only-binary=:all:");
    assert_eq!(by_pip, tool == "pip", "{manifest}");

    let again = Packages::at(cache, offline("/nowhere"));
    assert_eq!(resolve(&again, COWSAY).await.unwrap(), one);
    let error = resolve(&again, "uvx cowsay@6.0").await.unwrap_err();
    assert!(error.to_string().contains("install uv"), "{error}");
}

async fn says_what_to_do(cache: &Path, first: &str) {
    let (_python, path) = path(first);
    let online = || environment(&[("PATH", &path)]);
    for (line, environment, says) in [
        // Building it would run its code.
        ("uvx docopt==0.6.2", online(), "uvx --build"),
        ("uvx cowsay==99", online(), "fits cowsay==99"),
        ("uvx idna==3.0", online(), "idna 3.0 has no program"),
        ("uvx cowsay==6.0", offline(&path), "out of reach"),
    ] {
        let packages = Packages::at(cache, environment);
        let error = resolve(&packages, line).await.unwrap_err().to_string();
        assert!(error.contains(says), "{first} {line}: {error}");
    }
}
