//! TLS as Redis itself does it: the chain is verified against the server's own CA, the host name
//! is not (`tlsCreateContext` in `src/tls.c` sets no name to check).
//!
//! The files are read anew for each connection, so a renewed certificate needs no restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
pub use tokio_rustls::rustls::AlertDescription as Alert;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::config::secret::Secret;
use crate::config::server::{AuthClients, Tls};

mod encrypted;

/// Makes a connector of the server's own TLS settings.
///
/// # Errors
/// A file that cannot be read or used: one line that names it.
pub fn connector(tls: &Tls) -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let roots = roots(tls)?;
    let verifier = Arc::new(ChainOnly { roots, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match own_certificate(tls)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the TLS certificate and key do not go together: {error}"))?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The error of TLS that is behind one of the connection.
pub fn error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Why the other end ended TLS, where it did.
pub fn alert(error: &io::Error) -> Option<Alert> {
    match self::error(error)? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// What an alert means, with the file that it is about.
pub fn refused(alert: Alert, tls: &Tls) -> String {
    let shown = match Pair::shown(tls) {
        Some(Pair { option, cert, .. }) => format!("{option} {}", cert.display()),
        None => "no certificate".to_owned(),
    };
    format!("it refuses us, who show {shown}: {alert:?}")
}

/// Why there is no TLS, in words that stay the same from one moment to the next, with the file that
/// it is about.
pub fn explain(error: &Error, tls: &Tls) -> String {
    let why = match error {
        Error::AlertReceived(alert) => return refused(*alert, tls),
        Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet"
            }
            // A CA of the same name with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "is of a CA that we do not trust"
            }
            _ => return error.to_string(),
        },
        _ => return error.to_string(),
    };
    let trusted = [("tls-ca-cert-file", &tls.ca_cert_file), ("tls-ca-cert-dir", &tls.ca_cert_dir)];
    let trusted = trusted.iter().filter_map(|(option, path)| {
        path.as_ref().map(|path| format!("{option} {}", path.display()))
    });
    format!("its certificate {why} ({})", trusted.collect::<Vec<_>>().join(", "))
}

/// The CA certificates of `tls-ca-cert-file` and `tls-ca-cert-dir`.
fn roots(tls: &Tls) -> Result<RootCertStore, String> {
    let mut files: Vec<PathBuf> = tls.ca_cert_file.iter().cloned().collect();
    if let Some(dir) = &tls.ca_cert_dir {
        let entries = fs::read_dir(dir)
            .map_err(|error| format!("cannot read tls-ca-cert-dir {}: {error}", dir.display()))?;
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    let mut roots = RootCertStore::empty();
    for file in &files {
        let (_, _unusable) =
            roots.add_parsable_certificates(certificates(file, "the CA certificate")?);
    }
    if roots.is_empty() {
        return Err("no CA certificate: set tls-ca-cert-file or tls-ca-cert-dir".to_owned());
    }
    Ok(roots)
}

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What we show where clients must show a certificate: that of `tls-client-cert-file`, or else the
/// server's own, as a replica does.
fn own_certificate(tls: &Tls) -> Result<Option<OwnCertificate>, String> {
    let Some(Pair { option, cert, key, pass }) = Pair::shown(tls) else { return Ok(None) };
    let chain = certificates(cert, option)?;
    match private_key(key, pass) {
        Ok(key) => Ok(Some((chain, key))),
        // Nobody insists on seeing it.
        Err(_) if tls.auth_clients != AuthClients::Yes => Ok(None),
        Err(error) => Err(format!("cannot use the TLS key {}: {error}", key.display())),
    }
}

/// A certificate and its key.
struct Pair<'a> {
    /// The option that names the certificate.
    option: &'static str,
    cert: &'a Path,
    key: &'a Path,
    /// The key's passphrase.
    pass: Option<&'a Secret>,
}

impl Pair<'_> {
    /// The one that we show, if any.
    fn shown(tls: &Tls) -> Option<Pair<'_>> {
        match (&tls.client_cert_file, &tls.client_key_file, &tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key), _, _) => {
                let pass = tls.client_key_file_pass.as_ref();
                Some(Pair { option: "tls-client-cert-file", cert, key, pass })
            }
            (_, _, Some(cert), Some(key)) => {
                Some(Pair { option: "tls-cert-file", cert, key, pass: tls.key_file_pass.as_ref() })
            }
            _ => None,
        }
    }
}

/// The key in a file of PEM, decrypted if need be. The older encryption of single PEM sections, which
/// OpenSSL writes with `-traditional`, is not known.
fn private_key(file: &Path, pass: Option<&Secret>) -> Result<PrivateKeyDer<'static>, String> {
    let pem = fs::read(file).map_err(|error| error.to_string())?;
    // What stands before a section may be in any encoding.
    let pem = String::from_utf8_lossy(&pem);
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "it is encrypted in the old way; convert it with openssl pkcs8 -topk8".to_owned()
        );
    }
    if !pem.contains(ENCRYPTED) {
        return PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string());
    }
    let pass = pass.ok_or("it is encrypted, and there is no tls-key-file-pass for it")?;
    // The reader of PEM knows no such label; what is behind it does not matter to it.
    let pem = pem.replace(ENCRYPTED, "PRIVATE KEY-----");
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let plain = encrypted::decrypt(key.secret_der(), pass.expose())?;
    Ok(PrivatePkcs8KeyDer::from(plain).into())
}

/// The end of the label of an encrypted key (RFC 7468, 11).
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY-----";

fn certificates(file: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |error| format!("cannot use {what} {}: {error}", file.display());
    CertificateDer::pem_file_iter(file)
        .map_err(unusable)?
        .collect::<Result<_, _>>()
        .map_err(unusable)
}

/// Verifies the chain and its dates, not the name.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
