//! Private keys that a passphrase protects, as OpenSSL 1.1 and later writes them: PKCS 8 (RFC 5208) with
//! PBES2 (RFC 8018), the key made by PBKDF2, AES in CBC mode. Pure.
//!
//! The crate for it brings every scheme that there is, 170 KB of them; this is what `openssl pkcs8 -topk8`,
//! `openssl genpkey -aes256` write.

use std::num::NonZeroU32;

use aes::{Aes128, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use ring::pbkdf2;

/// `id-PBES2` and `id-PBKDF2`, then the pseudo-random functions and the ciphers (RFC 8018, appendix).
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];

/// Tags of DER (X.690).
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The private key (PKCS 8, DER) within `encrypted`, which is an `EncryptedPrivateKeyInfo` in DER.
///
/// # Errors
/// It is another scheme, or the passphrase is wrong.
pub fn decrypt(encrypted: &[u8], pass: &[u8]) -> Result<Vec<u8>, &'static str> {
    let scheme = Scheme::read(encrypted)
        .ok_or("its encryption is none that we know: convert it with openssl pkcs8 -topk8")?;
    let mut key = [0; 32];
    let key = &mut key[..scheme.key_len];
    pbkdf2::derive(scheme.prf, scheme.rounds, scheme.salt, pass, key);
    let plain = match scheme.key_len {
        16 => cbc::<Aes128>(key, scheme.iv, scheme.data),
        _ => cbc::<Aes256>(key, scheme.iv, scheme.data),
    };
    plain.ok_or("its passphrase is wrong")
}

/// How a key is encrypted, and the encrypted key.
struct Scheme<'a> {
    prf: pbkdf2::Algorithm,
    rounds: NonZeroU32,
    salt: &'a [u8],
    /// In bytes.
    key_len: usize,
    iv: &'a [u8],
    data: &'a [u8],
}

impl<'a> Scheme<'a> {
    fn read(encrypted: &'a [u8]) -> Option<Scheme<'a>> {
        let mut info = Der(encrypted).enter()?;
        let mut algorithm = info.enter()?;
        let data = info.take(OCTETS)?;
        if algorithm.take(OID)? != PBES2 {
            return None;
        }
        let mut pbes2 = algorithm.enter()?;
        let (mut kdf, mut cipher) = (pbes2.enter()?, pbes2.enter()?);
        if kdf.take(OID)? != PBKDF2 {
            return None;
        }
        let mut kdf = kdf.enter()?;
        let salt = kdf.take(OCTETS)?;
        let rounds = kdf.take(INTEGER)?;
        if rounds.len() > 4 {
            return None;
        }
        let rounds = rounds.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        // The length of the key, which the cipher says as well.
        let _ = kdf.take(INTEGER);
        let prf = match kdf.enter() {
            None => pbkdf2::PBKDF2_HMAC_SHA1,
            Some(mut prf) => match prf.take(OID)?.strip_prefix(HMAC)? {
                [7] => pbkdf2::PBKDF2_HMAC_SHA1,
                [9] => pbkdf2::PBKDF2_HMAC_SHA256,
                [10] => pbkdf2::PBKDF2_HMAC_SHA384,
                [11] => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return None,
            },
        };
        let key_len = match cipher.take(OID)?.strip_prefix(AES)? {
            [2] => 16,
            [42] => 32,
            _ => return None,
        };
        let rounds = NonZeroU32::new(rounds)?;
        Some(Scheme { prf, rounds, salt, key_len, iv: cipher.take(OCTETS)?, data })
    }
}

/// `None`: a length does not fit, or the padding is not what the right key leaves.
fn cbc<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut plain = data.to_vec();
    let cipher = Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let length = cipher.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

/// What is left of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (length, rest) = self.0.strip_prefix(&[tag])?.split_first()?;
        let (length, rest) = match *length {
            short @ ..0x80 => (usize::from(short), rest),
            long => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                if digits.len() > 3 {
                    return None;
                }
                (digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    fn enter(&mut self) -> Option<Der<'a>> {
        self.take(SEQUENCE).map(Der)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;

    use super::*;

    /// What is in a file of `tests/fixtures/keys`, all made by `openssl pkcs8 -topk8` of `plain.pem`.
    fn der(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/fixtures/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        let pem = std::fs::read_to_string(path).unwrap().replace("ENCRYPTED PRIVATE", "PRIVATE");
        PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap().secret_der().to_vec()
    }

    #[test]
    fn key_is_decrypted_by_its_passphrase_alone() {
        let plain = der("plain");
        for name in ["aes256-sha256", "aes128-sha1", "aes256-sha512"] {
            let encrypted = der(name);
            assert_eq!(decrypt(&encrypted, b"hunter2").as_ref(), Ok(&plain), "{name}");
            // One wrong key in 256 leaves what looks like a padding, and is refused as a key then.
            assert_ne!(decrypt(&encrypted, b"hunter3"), Ok(plain.clone()), "{name}");
        }
    }

    #[test]
    fn scheme_that_is_not_known_is_said_so() {
        for name in ["des3", "scrypt", "plain"] {
            let error = decrypt(&der(name), b"hunter2").unwrap_err();
            assert!(error.contains("convert it"), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = Scheme::read(&bytes).is_some();
        }

        #[test]
        fn damaged_key_is_no_key(at in 0_usize..300, byte: u8, end in 0_usize..300) {
            let mut damaged = der("aes256-sha256");
            let (at, end) = (at % damaged.len(), end % damaged.len());
            damaged[at] = byte;
            damaged.truncate(end.max(1));
            prop_assert!(Scheme::read(&damaged).is_none());
        }
    }
}
