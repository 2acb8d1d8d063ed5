//! The CA of a data directory and the server certificates that it signs.
//!
//! The CA is made once, because clients pin it. The server's key and certificate live in memory only, are
//! made at every start and again long before their end, so they never need to be kept.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::{SecurityError, files};

/// Names and addresses that the server certificate is for, whatever else it is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The CA of a data directory.
pub(super) struct Authority {
    pub(super) pem: String,
    der: CertificateDer<'static>,
    key: String,
}

/// Reads the CA of a data directory, or makes it.
pub(super) fn authority(dir: &Path) -> Result<Authority, SecurityError> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let unusable = |reason: String| SecurityError::Certificate { directory: dir.to_owned(), reason };
    if let (Some(pem), Some(key)) = (files::read_private(&certificate)?, files::read_private(&key)?) {
        let pem = String::from_utf8(pem).map_err(|_| unusable("ca.crt is no text".into()))?;
        let key = String::from_utf8(key).map_err(|_| unusable("ca.key is no text".into()))?;
        KeyPair::from_pem(&key).map_err(|error| unusable(format!("ca.key: {error}")))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| unusable("ca.crt holds no certificate".into()))?;
        return Ok(Authority { pem, der, key });
    }
    let made = KeyPair::generate().map_err(|error| unusable(error.to_string()))?;
    let signed = authority_params().self_signed(&made).map_err(|error| unusable(error.to_string()))?;
    let (pem, secret) = (signed.pem(), made.serialize_pem());
    for (path, text) in [(&key, &secret), (&certificate, &pem)] {
        files::write_private(path, text.as_bytes()).map_err(|source| SecurityError::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
    }
    Ok(Authority { pem, der: signed.der().clone(), key: secret })
}

impl Authority {
    /// Signs a new server certificate, also for the names given, and checks that a client that pins the CA
    /// takes it.
    pub(super) fn issue(&self, names: &[String]) -> Result<Arc<CertifiedKey>, String> {
        let names = NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned());
        let mut params =
            CertificateParams::new(names.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        params.distinguished_name.push(DnType::CommonName, "gcluster master");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        params.not_before = date_time_ymd(i32::from(today.year()) - 1, 1, 1);
        params.not_after = date_time_ymd(i32::from(today.year()) + 2, 1, 1);
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let ca_key = KeyPair::from_pem(&self.key).map_err(|error| format!("ca.key: {error}"))?;
        let issuer = Issuer::new(authority_params(), ca_key);
        let certificate = params.signed_by(&key, &issuer).map_err(|error| error.to_string())?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let made = certified(vec![certificate.der().clone()], private)?;
        self.check(certificate.der())?;
        Ok(made)
    }

    fn check(&self, issued: &CertificateDer<'_>) -> Result<(), String> {
        use rustls::{CertificateError as Why, Error};
        // The one that pins the CA does not look at the CA's dates, other clients do.
        let own = verify(&self.der, &self.der).err();
        match own {
            Some(Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. })) => {
                return Err("ca.crt has expired".into());
            }
            Some(Error::InvalidCertificate(Why::NotValidYet | Why::NotValidYetContext { .. })) => {
                return Err("ca.crt is not valid yet: is the clock right?".into());
            }
            _ => {}
        }
        verify(&self.der, issued)
            .map_err(|error| format!("ca.crt and ca.key do not belong together ({error})"))
    }
}

fn verify(authority: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let name = ServerName::try_from(NAMES[0]).map_err(|error| rustls::Error::General(error.to_string()))?;
    verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()).map(drop)
}

/// A certificate chain with its key, checked to belong together.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, String> {
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the certificate and the key do not belong together".into(),
        other => other.to_string(),
    })
}

/// True when a certificate is outside its dates.
pub(super) fn is_outdated(certificate: &CertificateDer<'_>, authority: &Authority) -> bool {
    use rustls::{CertificateError as Why, Error};
    let outdated = |why: &Why| {
        matches!(
            why,
            Why::Expired | Why::ExpiredContext { .. } | Why::NotValidYet | Why::NotValidYetContext { .. }
        )
    };
    // Dates are looked at before who signed it, so that any authority will do.
    matches!(verify(&authority.der, certificate), Err(Error::InvalidCertificate(why)) if outdated(&why))
}

/// The cryptography in use.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
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
