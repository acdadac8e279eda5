//! The Secrets that overlays mount are those that the documents say how to make.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::rendered::{Rendered, files_of};
use super::{Objects, make_secret, own, render, validate};
use crate::support::process::run;

/// The Secrets of an overlay, by name, each with the files that its servers are told to read.
fn read_by(rendered: &Rendered) -> BTreeMap<String, Vec<String>> {
    let spec = &rendered.set.spec.template.spec;
    let container = rendered.container();
    let config = rendered.config.values().flat_map(BTreeMap::values).flat_map(|text| text.lines());
    let env = container.env.iter().filter_map(|variable| variable.value.as_deref());
    let words = config.flat_map(str::split_whitespace).chain(env);
    let words: Vec<&str> = words.chain(container.command.iter().map(String::as_str)).collect();
    let secrets = spec.volumes.iter().filter_map(|volume| Some((volume, volume.secret.as_ref()?)));
    secrets
        .map(|(volume, secret)| {
            let mount = container.volume_mounts.iter().find(|mount| mount.name == volume.name);
            let mount = mount.expect("it is mounted");
            assert!(mount.read_only, "{}", mount.name);
            let place = format!("{}/", mount.mount_path);
            let files = words.iter().filter_map(|word| word.strip_prefix(&place));
            (secret.secret_name.clone(), files.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn files_that_the_servers_read_are_in_the_secrets_that_are_made() {
    for (overlay, expected) in [
        ("k8s", vec![]),
        ("k8s/overlays/tls", vec!["tls"]),
        ("k8s/overlays/auth", vec!["auth"]),
        ("k8s/overlays/locked-down", vec!["auth", "tls"]),
    ] {
        let Some(rendered) = Rendered::of(overlay) else { return };
        let read = read_by(&rendered);
        let names: Vec<String> = expected.iter().map(|of| format!("redis-{of}")).collect();
        assert_eq!(read.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>(), "{overlay}");
        for of in expected {
            let Some(made) = make_secret(of) else { return };
            let (name, made) = files_of(&made);
            assert_eq!(read[&name].len(), 3, "{overlay}: {read:?}");
            for file in &read[&name] {
                assert!(made.contains_key(file), "{overlay}: {file} is not in {name}");
            }
        }
    }
}

#[test]
fn certificate_of_cert_manager_goes_into_the_secret_of_the_overlay() {
    let Some(yaml) = render(&own("k8s/cert-manager")) else { return };
    let all = Objects::read(&yaml);
    let (pod, ca) = (all.spec("Certificate", "redis"), all.spec("Certificate", "redis-ca"));
    assert_eq!(pod["secretName"], "redis-tls");
    for usage in ["server auth", "client auth"] {
        assert!(pod["usages"].as_array().is_some_and(|all| all.contains(&usage.into())), "{pod}");
    }
    // One signs the other.
    assert_eq!(ca["isCA"], true);
    assert_eq!(all.spec("Issuer", "redis-ca")["ca"]["secretName"], ca["secretName"]);
    assert_eq!(pod["issuerRef"]["name"], "redis-ca");
    assert_eq!(all.spec("Issuer", "redis-self-signed")["selfSigned"], serde_json::json!({}));
    assert_eq!(ca["issuerRef"]["name"], "redis-self-signed");
}

#[test]
fn secret_is_valid_and_new_each_time_and_there_is_none_where_it_cannot_be_made() {
    let script = own("k8s/make-secret");
    for of in ["auth", "tls"] {
        let (Some(one), Some(other)) = (make_secret(of), make_secret(of)) else { return };
        assert_ne!(files_of(&one), files_of(&other), "{of}");
    }
    for of in ["auth", "tls"] {
        let Some(said) = make_secret(of).and_then(|made| validate(&made)) else { return };
        assert!(said.contains(&format!("secret/redis-{of}")), "{said}");
    }
    let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
    for wrong in [&["other"][..], &[]] {
        let output = run(Command::new(&script).args(wrong));
        assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()));
    }
    // An openssl that fails.
    symlink("/bin/false", dir.path().join("openssl")).expect("the test's directory is writable");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
    for of in ["auth", "tls"] {
        let output = run(Command::new(&script).arg(of).env("PATH", &path));
        assert!(!output.status.success(), "{of}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{of}");
    }
}
