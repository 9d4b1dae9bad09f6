//! `npx …`

use super::*;

/// A program in one package, which says what it is given if it is a version.
const SEMVER: &str = "npx -y semver@~7.7.1 1.2.3";

// Mutation: rename over what is there, or note the folder without looking who was first.
#[tokio::test]
async fn two_at_once_and_later_ones_without_network_start_the_same() {
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("cache");
    let packages = || Packages::at(&cache, environment(&[]));
    let (one, other) = (packages(), packages());
    let (one, other) = tokio::join!(resolve(&one, SEMVER), resolve(&other, SEMVER));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one, other);
    assert!(one.version.starts_with("7.7."), "{one:?}");
    assert_eq!(said(&one), "1.2.3\n");

    // Neither npm nor a registry is there any more.
    let node = only("node");
    let offline = Packages::at(&cache, offline(node.path().to_str().unwrap()));
    let again = resolve(&offline, SEMVER).await.unwrap();
    assert_eq!(again, one);
    // Other arguments are not another package.
    let other = resolve(&offline, "npx semver@~7.7.1 -- 4.5.6")
        .await
        .unwrap();
    assert_eq!(said(&other), "4.5.6\n");

    // Nothing else is left, and nothing can be changed by accident.
    assert_eq!(writable(&one.folder), [] as [&Path; 0]);
    let names: Vec<_> = fs::read_dir(cache.join("npm"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let manifest = fs::read(one.folder.join("cloakroom-package.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["requested"], "semver@~7.7.1");
    assert_eq!(manifest["version"], *one.version);
    let integrity = manifest["integrity"].as_str().unwrap();
    assert!(integrity.starts_with("sha512-"), "{manifest}");
}

#[tokio::test]
async fn a_newer_version_comes_when_asked_for_and_a_lost_one_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let packages = || Packages::at(root.path(), environment(&[]));
    let first = resolve(&packages(), "npx semver@7.7.1 1.2.3")
        .await
        .unwrap();
    assert_eq!(first.version, "7.7.1");
    // As if 7.7.1 had been the newest when this was first asked for.
    let wanted = root.path().join("npm/wanted");
    let note = |spec: &str| wanted.join(spec);
    fs::copy(note("semver@7.7.1"), note("semver@%7E7.7.1")).unwrap();
    let kept = resolve(&packages(), SEMVER).await.unwrap();
    assert_eq!(kept, first);
    let moved = resolve(&packages().refreshed(), SEMVER).await.unwrap();
    assert_ne!(moved.version, "7.7.1");
    assert_eq!(resolve(&packages(), SEMVER).await.unwrap(), moved);
    assert_eq!(said(&first), "1.2.3\n", "what runs keeps its files");

    // Spoiled, and gone.
    let done = Command::new("sh")
        .args([
            "-c",
            "chmod -R u+w \"$0\" && rm \"$0/cloakroom-package.json\"",
        ])
        .arg(&moved.folder)
        .status();
    assert!(done.unwrap().success());
    let mended = resolve(&packages(), SEMVER).await.unwrap();
    assert_eq!((said(&mended), &mended), ("1.2.3\n".to_owned(), &moved));
}

// Mutation: leave out --ignore-scripts.
#[tokio::test]
async fn scripts_of_packages_run_only_when_it_is_said() {
    let root = tempfile::tempdir().unwrap();
    // Its postinstall replaces a script by the binary of this machine.
    for (line, is_script) in [
        ("npx -y esbuild@0.25.0 --version", true),
        (
            "npx -y --ignore-scripts=false esbuild@0.25.0 --version",
            false,
        ),
    ] {
        let packages = Packages::at(root.path(), environment(&[]));
        let resolved = resolve(&packages, line).await.unwrap();
        assert_eq!(said(&resolved), "0.25.0\n");
        assert_eq!(
            resolved.command.len(),
            if is_script { 3 } else { 2 },
            "{resolved:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_installed_is_said_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let node = only("node");
    let path = std::env::var("PATH").unwrap();
    for (line, environment, says) in [
        (
            "npx -y cloakroom-has-no-such-package",
            environment(&[]),
            "has no package",
        ),
        (
            "npx -y semver@99",
            environment(&[]),
            "no version of the package that fits semver@99",
        ),
        (
            "npx -y ms@2.1.3",
            environment(&[]),
            "ms 2.1.3 has no program",
        ),
        (
            "npx -y -p semver@7.7.1 other",
            environment(&[]),
            "-p semver@7.7.1 semver",
        ),
        ("npx -y semver@7.7.2", offline(&path), "out of reach"),
        (
            "npx -y semver@7.7.2",
            offline(node.path().to_str().unwrap()),
            "npm is not in PATH",
        ),
        ("npx -y ../semver", environment(&[]), "no path"),
    ] {
        let packages = Packages::at(root.path(), environment);
        let error = resolve(&packages, line).await.unwrap_err().to_string();
        assert!(error.contains(says), "{line}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let drafts = fs::read_dir(root.path().join("npm")).unwrap().flatten();
    let drafts: Vec<_> = drafts
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

// Mutation: leave out the look at who may write.
#[tokio::test]
async fn a_folder_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let packages = Packages::at(root.path(), environment(&[]));
    let error = resolve(&packages, SEMVER).await.unwrap_err();
    assert!(matches!(error, PackageError::NotOurs(_)), "{error}");
}
