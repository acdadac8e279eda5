//! The Secret that cert-manager makes of a `Certificate`: what the object asks for is in the
//! certificate, and the files have the form that cert-manager gives them (`pkg/util/pki` of
//! github.com/cert-manager/cert-manager), which is not that of `k8s/make-secret`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::manifests::output_of;

/// An issuer of the kind `ca`, with its own certificate, in a directory.
#[derive(Debug)]
pub struct Issuer {
    dir: TempDir,
}

impl Issuer {
    /// Whose certificate is what this `spec` of a `Certificate` asks for, signed by itself.
    pub fn new(spec: &Value) -> Self {
        let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
        assert_eq!(spec["isCA"], true, "{spec}");
        write(dir.path(), "ca", spec);
        let request =
            ["req", "-x509", "-key", "ca.key", "-config", "ca.conf", "-extensions", "all"];
        openssl(dir.path(), &[&request[..], &["-days", &days(spec), "-out", "ca.crt"]].concat());
        Self { dir }
    }

    /// The Secret that this `spec` of a `Certificate` asks for, as YAML.
    pub fn secret(&self, spec: &Value) -> String {
        let dir = self.dir.path();
        write(dir, "tls", spec);
        let request = ["req", "-new", "-key", "tls.key", "-config", "tls.conf", "-out", "tls.csr"];
        openssl(dir, &request);
        let sign = ["x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key"];
        let extensions = ["-CAcreateserial", "-extfile", "tls.conf", "-extensions", "all"];
        let output = ["-days", &days(spec), "-out", "tls.crt"];
        openssl(dir, &[&sign[..], &extensions, &output].concat());
        let text = |name: &str| fs::read_to_string(dir.join(name)).expect("openssl wrote it");
        // Of the chain, all but the root is in tls.crt, and the root in ca.crt.
        let files =
            ["ca.crt", "tls.crt", "tls.key"].map(|name| (name.to_owned(), json!(text(name))));
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": spec["secretName"]},
            "type": "kubernetes.io/tls", "stringData": Value::Object(files.into_iter().collect())
        })
        .to_string()
    }
}

/// Writes `NAME.key` and `NAME.conf` for what a `Certificate` asks for.
fn write(dir: &Path, name: &str, spec: &Value) {
    let file = format!("{name}.key");
    let key = &spec["privateKey"];
    // Also what there is without an encoding: PKCS#1, which is that of SEC 1 for ECDSA.
    assert!(matches!(key["encoding"].as_str(), None | Some("PKCS1")), "{key}");
    match (key["algorithm"].as_str(), key["size"].as_u64()) {
        (Some("ECDSA"), None | Some(256)) => {
            openssl(dir, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &file]);
        }
        (None | Some("RSA"), size) => {
            let size = size.unwrap_or(2048).to_string();
            openssl(dir, &["genrsa", "-traditional", "-out", &file, &size]);
        }
        _ => panic!("a key that is not made here: {key}"),
    }
    let usages = words(&spec["usages"]).unwrap_or(vec!["digital signature", "key encipherment"]);
    let (mut plain, mut extended) = (Vec::new(), Vec::new());
    for usage in usages {
        match usage {
            "digital signature" => plain.push("digitalSignature"),
            "key encipherment" => plain.push("keyEncipherment"),
            "server auth" => extended.push("serverAuth"),
            "client auth" => extended.push("clientAuth"),
            other => panic!("a usage that nobody knows here: {other}"),
        }
    }
    let is_ca = spec["isCA"] == true;
    if is_ca {
        plain.push("keyCertSign");
    }
    let mut all = vec![
        format!("basicConstraints = critical, CA:{}", if is_ca { "TRUE" } else { "FALSE" }),
        format!("keyUsage = critical, {}", plain.join(", ")),
        "subjectKeyIdentifier = hash".to_owned(),
    ];
    if !extended.is_empty() {
        all.push(format!("extendedKeyUsage = {}", extended.join(", ")));
    }
    if let Some(names) = words(&spec["dnsNames"]) {
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        all.push(format!("subjectAltName = {}", names.join(", ")));
    }
    if !is_ca {
        all.push("authorityKeyIdentifier = keyid".to_owned());
    }
    let name_of = spec["commonName"].as_str().expect("a name");
    let conf = format!(
        "[req]\nprompt = no\ndistinguished_name = name\n[name]\nCN = {name_of}\n[all]\n{}\n",
        all.join("\n")
    );
    fs::write(dir.join(format!("{name}.conf")), conf).expect("the test's directory is writable");
}

/// `duration`, 90 days by default.
fn days(spec: &Value) -> String {
    let hours = spec["duration"].as_str().unwrap_or("2160h").trim_end_matches('h');
    (hours.parse::<u32>().expect("hours") / 24).to_string()
}

/// The words of a list, if there is one.
fn words(list: &Value) -> Option<Vec<&str>> {
    Some(list.as_array()?.iter().map(|word| word.as_str().expect("text")).collect())
}

fn openssl(dir: &Path, args: &[&str]) {
    output_of(Command::new("openssl").args(args).current_dir(dir));
}
