//! What we read and what the server says, under the same names and in the same spelling.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rejoin::config::secret::Secret;
use rejoin::config::server::{AuthClients, ServerConfig};

/// Our fields under the server's names, in the server's spelling. Names of files are absolute.
pub fn fields(config: &ServerConfig) -> BTreeMap<&'static str, String> {
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    let path = |path: &Option<PathBuf>| {
        path.as_ref().map(|path| path.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let secret = |secret: &Option<Secret>| {
        let bytes = secret.as_ref().map(|secret| secret.expose().to_vec()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let save = &config.persistence.save;
    let save: Vec<_> = save.iter().map(|at| format!("{} {}", at.seconds, at.changes)).collect();
    let (announce, persistence, tls) = (&config.announce, &config.persistence, &config.tls);
    BTreeMap::from([
        ("dir", config.dir.to_str().unwrap().to_owned()),
        ("cluster-config-file", config.nodes_conf.to_str().unwrap().to_owned()),
        ("cluster-enabled", yes(config.cluster_enabled)),
        ("port", config.port.to_string()),
        ("tls-port", config.tls_port.to_string()),
        ("cluster-port", config.cluster_port.to_string()),
        ("bind", config.bind.join(" ")),
        ("bind-source-addr", text(&config.bind_source_addr)),
        ("unixsocket", path(&config.unixsocket)),
        ("protected-mode", yes(config.protected_mode)),
        ("requirepass", secret(&config.requirepass)),
        ("masterauth", secret(&config.masterauth)),
        ("masteruser", text(&config.masteruser)),
        ("aclfile", path(&config.aclfile)),
        ("cluster-announce-ip", text(&announce.ip)),
        ("cluster-announce-port", announce.port.to_string()),
        ("cluster-announce-tls-port", announce.tls_port.to_string()),
        ("cluster-announce-bus-port", announce.bus_port.to_string()),
        ("cluster-announce-hostname", text(&announce.hostname)),
        ("cluster-node-timeout", config.node_timeout.as_millis().to_string()),
        ("appendonly", yes(persistence.appendonly)),
        ("appendfilename", persistence.appendfilename.clone()),
        ("appenddirname", persistence.appenddirname.clone()),
        ("dbfilename", persistence.dbfilename.clone()),
        ("save", save.join(" ")),
        ("tls-cert-file", path(&tls.cert_file)),
        ("tls-key-file", path(&tls.key_file)),
        ("tls-key-file-pass", secret(&tls.key_file_pass)),
        ("tls-client-cert-file", path(&tls.client_cert_file)),
        ("tls-client-key-file", path(&tls.client_key_file)),
        ("tls-client-key-file-pass", secret(&tls.client_key_file_pass)),
        ("tls-ca-cert-file", path(&tls.ca_cert_file)),
        ("tls-ca-cert-dir", path(&tls.ca_cert_dir)),
        ("tls-auth-clients", {
            match tls.auth_clients {
                AuthClients::Yes => "yes",
                AuthClients::No => "no",
                AuthClients::Optional => "optional",
            }
            .to_owned()
        }),
        ("tls-cluster", yes(tls.cluster)),
        ("tls-replication", yes(tls.replication)),
        ("shutdown-timeout", config.shutdown_timeout.as_secs().to_string()),
        ("shutdown-on-sigterm", config.shutdown_on_sigterm.join(" ")),
        ("replica-serve-stale-data", yes(config.replica_serve_stale_data)),
    ])
}

/// The server's answer for our fields; names of files made absolute, as ours are.
pub fn server_fields(
    names: &BTreeMap<&'static str, String>,
    live: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, String> {
    const FILES: [&str; 9] = [
        "cluster-config-file",
        "unixsocket",
        "aclfile",
        "tls-cert-file",
        "tls-key-file",
        "tls-client-cert-file",
        "tls-client-key-file",
        "tls-ca-cert-file",
        "tls-ca-cert-dir",
    ];
    let dir = Path::new(&live["dir"]);
    let value = |name: &&'static str| match live[*name].as_str() {
        // Without cluster mode nobody minds, and we keep the default.
        "" if *name == "cluster-config-file" => dir.join("nodes.conf").to_str().unwrap().to_owned(),
        file if FILES.contains(name) && !file.is_empty() => {
            dir.join(file).to_str().unwrap().to_owned()
        }
        value => value.to_owned(),
    };
    names.keys().map(|name| (*name, value(name))).collect()
}
