//! Servers that are locked down: mutual TLS and no other port, and a user with few rights for each
//! who logs in. One certificate authority for all that one test starts.
//!
//! `REJOIN_TEST_LOCKED=1`, or `make test LOCKED=1`, has every recipe make such servers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates,
};

/// What `rejoin` may do, as `docs/operations.md` has it.
pub const RIGHTS: &str = "+cluster|nodes +cluster|info +cluster|myid +cluster|meet \
    +cluster|addslots +cluster|set-config-epoch +cluster|bumpepoch +cluster|replicate \
    +cluster|forget +cluster|failover +info +dbsize +config|set";

/// The secrets of the test, of the replicas and of `rejoin`. Those of the last two need care in
/// `redis.conf` and in a file.
pub const TESTER: &str = "the secret of the tester";
/// What a replica logs in with.
pub const COPIER: &str = "the \"copier's\" secret";
/// What `rejoin` logs in with.
pub const KEEPER: &str = "the keeper's \\ secret #1";

/// The name in every certificate: that of the pods' Service, and no address.
const NAMES: &str = "*.redis.default.svc.cluster.local";

/// How the servers of a fleet are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// A plain port, and no passwords but those that the test sets.
    Open,
    /// As the module says.
    Locked,
}

impl Lock {
    /// Open, unless `REJOIN_TEST_LOCKED` says otherwise.
    pub fn usual() -> Lock {
        match std::env::var("REJOIN_TEST_LOCKED").is_ok_and(|value| !value.is_empty()) {
            true => Lock::Locked,
            false => Lock::Open,
        }
    }
}

/// How one server is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The user; none: `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// By TLS.
    pub tls: bool,
}

impl Access {
    /// What the test itself logs in with where all is locked down.
    pub fn locked() -> Access {
        Access { user: Some("tester".to_owned()), password: Some(TESTER.to_owned()), tls: true }
    }

    /// For the cluster client and for [`Access::client`].
    ///
    /// # Errors
    /// None, but the client may say so.
    pub fn to(&self, at: SocketAddr) -> RedisResult<ConnectionInfo> {
        let (host, port) = (at.ip().to_string(), at.port());
        // It is the servers and rejoin that are tested for whom they trust.
        let address = match self.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: true, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(login))
    }

    /// A client of the server at this address.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn client(&self, at: SocketAddr) -> RedisResult<Client> {
        match self.tls {
            true => Client::build_with_tls(self.to(at)?, shown()),
            false => Client::open(self.to(at)?),
        }
    }

    /// The arguments of `redis-cli`, with files of the directory that [`write`] has filled. The
    /// password goes into `REDISCLI_AUTH`.
    pub fn cli(&self, dir: &Path) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(user) = &self.user {
            args.extend(["--user".to_owned(), user.clone()]);
        }
        if self.tls {
            args.push("--tls".to_owned());
            for (flag, file) in
                [("--cacert", "ca.crt"), ("--cert", "server.crt"), ("--key", "server.key")]
            {
                args.extend([flag.to_owned(), dir.join(file).display().to_string()]);
            }
        }
        args
    }
}

/// What the test's own clients show to a server.
pub fn shown() -> TlsCertificates {
    static SHOWN: OnceLock<TlsCertificates> = OnceLock::new();
    let shown = SHOWN.get_or_init(|| {
        let (cert, key) = Authority::shared().leaf(&Leaf::default());
        let client_tls = ClientTlsConfig { client_cert: cert.into(), client_key: key.into() };
        let root_cert = Some(Authority::shared().pem().into());
        TlsCertificates { client_tls: Some(client_tls), root_cert }
    });
    shown.clone()
}

/// Who signs certificates.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What is special about a certificate: by default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leaf {
    /// Valid from and until, in days from now; by default from yesterday until tomorrow.
    pub days: Option<(i64, i64)>,
}

impl Authority {
    /// The one of this process.
    pub fn shared() -> &'static Authority {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Authority::new("the tests' authority"))
    }

    /// Another one.
    ///
    /// # Panics
    /// When keys cannot be made.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for servers and clients, and its key.
    ///
    /// # Panics
    /// When keys cannot be made.
    pub fn leaf(&self, leaf: &Leaf) -> (String, String) {
        let mut params = CertificateParams::new([NAMES.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "redis");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (from, until) = leaf.days.unwrap_or((-1, 1));
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now + time::Duration::days(from);
        params.not_after = now + time::Duration::days(until);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes `ca.crt`, `server.crt` and `server.key`.
    ///
    /// # Panics
    /// When the directory is not writable.
    pub fn write(&self, dir: &Path, leaf: &Leaf) {
        let (cert, key) = self.leaf(leaf);
        for (name, text) in [("ca.crt", self.pem()), ("server.crt", cert), ("server.key", key)] {
            fs::write(dir.join(name), text).expect("the test's directory is writable");
        }
    }
}

/// Fills `dir` with the certificates, `users.acl`, and the password of `rejoin` in `password`.
///
/// # Panics
/// When it is not writable.
pub fn write(dir: &Path) {
    Authority::shared().write(dir, &Leaf::default());
    let users = format!(
        "user default off ~* &* +@all\n\
         user tester on {} ~* &* +@all\n\
         user copier on {} +psync +replconf +ping\n\
         user keeper on {} {RIGHTS}\n",
        hashed(TESTER),
        hashed(COPIER),
        hashed(KEEPER),
    );
    fs::write(dir.join("users.acl"), users).expect("the test's directory is writable");
    fs::write(dir.join("password"), format!("{KEEPER}\n")).expect("the same directory");
}

/// The lines of `redis.conf` for the files in `dir`; `port` is the only one.
pub fn conf(dir: &Path, port: u16) -> Vec<String> {
    let dir = dir.display();
    vec![
        "port 0".to_owned(),
        format!("tls-port {port}"),
        "tls-cluster yes".to_owned(),
        "tls-replication yes".to_owned(),
        "tls-auth-clients yes".to_owned(),
        format!("tls-ca-cert-file {dir}/ca.crt"),
        format!("tls-cert-file {dir}/server.crt"),
        format!("tls-key-file {dir}/server.key"),
        format!("aclfile {dir}/users.acl"),
        "masteruser copier".to_owned(),
        format!("masterauth {}", quoted(COPIER)),
    ]
}

/// The variables of `rejoin` for the files in `dir`.
pub fn env(dir: &Path) -> [(String, String); 2] {
    let file = dir.join("password").display().to_string();
    [("REJOIN_USERNAME".to_owned(), "keeper".to_owned()), ("REJOIN_PASSWORD_FILE".to_owned(), file)]
}

/// A value with blanks in it for `redis.conf`.
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A password as an ACL rule takes it, whatever is in it: `#` and its SHA-256.
pub fn hashed(secret: &str) -> String {
    hashed_bytes(secret.as_bytes())
}

/// The same for one that is not text.
pub fn hashed_bytes(secret: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("#{hex}")
}
