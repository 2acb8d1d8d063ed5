//! The CA of a data directory and the server certificate that it signs.
//!
//! The CA is made once, because clients pin it. The server's key and certificate live in memory only and
//! are made at every start, so they are never near their end and never need to be kept.

use std::path::Path;

use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{SecurityError, files};

/// Names and addresses that the server certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

pub(super) struct Made {
    pub(super) ca_pem: String,
    pub(super) config: ServerConfig,
}

/// Reads the CA, or makes it, and signs a server certificate with it.
pub(super) fn open(dir: &Path) -> Result<Made, SecurityError> {
    let unusable = |reason: String| SecurityError::Certificate { directory: dir.to_owned(), reason };
    let (ca_pem, ca_key) = authority(dir)?;
    make(ca_pem, ca_key).map_err(unusable)
}

fn authority(dir: &Path) -> Result<(String, KeyPair), SecurityError> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let unusable = |reason: String| SecurityError::Certificate { directory: dir.to_owned(), reason };
    if let (Some(pem), Some(key)) = (files::read_private(&certificate)?, files::read_private(&key)?) {
        let pem = String::from_utf8(pem).map_err(|_| unusable("ca.crt is no text".into()))?;
        let key = String::from_utf8(key).map_err(|_| unusable("ca.key is no text".into()))?;
        let key = KeyPair::from_pem(&key).map_err(|error| unusable(format!("ca.key: {error}")))?;
        if !pem.contains("BEGIN CERTIFICATE") {
            return Err(unusable("ca.crt holds no certificate".into()));
        }
        return Ok((pem, key));
    }
    let made = KeyPair::generate().map_err(|error| unusable(error.to_string()))?;
    let pem = authority_params().self_signed(&made).map_err(|error| unusable(error.to_string()))?.pem();
    for (path, text) in [(&key, made.serialize_pem()), (&certificate, pem.clone())] {
        files::write_private(path, text.as_bytes()).map_err(|source| SecurityError::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
    }
    Ok((pem, made))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "gcluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2075, 1, 1);
    params
}

fn make(ca_pem: String, ca_key: KeyPair) -> Result<Made, String> {
    let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(|error| error.to_string())?;
    params.distinguished_name.push(DnType::CommonName, "gcluster master");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    params.not_before = date_time_ymd(i32::from(today.year()) - 1, 1, 1);
    params.not_after = date_time_ymd(i32::from(today.year()) + 2, 1, 1);
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let issuer = Issuer::new(authority_params(), ca_key);
    let certificate = params.signed_by(&key, &issuer).map_err(|error| error.to_string())?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Made { ca_pem, config })
}
