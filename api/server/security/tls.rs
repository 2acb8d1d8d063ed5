//! Which certificate a client is shown, and that none of them grows old.
//!
//! ```text
//! the client names a name of the owner's certificate (SNI) ─▶ that one
//! anything else: an address, localhost, a --hostname       ─▶ one that the CA of the data directory signed
//! ```
//! So the kubeconfig of the data directory, which pins that CA and names an address, works beside a
//! certificate for the world.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use super::SecurityError;
use super::certificate::{Authority, certified, is_outdated, provider};

/// How often the owner's files are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Age at which the own server certificate is made anew; it is valid for more than twice as long.
const RENEW: Duration = Duration::from_secs(180 * 24 * 3600);

/// Certificates beyond the one that a data directory makes for itself.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// The owner's certificate chain and key, as PEM files. Read again when they change.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Further names and addresses under which clients reach this server.
    pub hostnames: Vec<String>,
}

/// What is shown to clients.
pub(super) struct Certificates {
    authority: Authority,
    options: TlsOptions,
    shown: RwLock<Shown>,
}

#[derive(Clone)]
struct Shown {
    own: Arc<CertifiedKey>,
    owners: Option<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates { … }")
    }
}

impl Certificates {
    /// Reads and makes all certificates.
    pub(super) fn open(
        dir: &Path,
        authority: Authority,
        options: TlsOptions,
    ) -> Result<Arc<Self>, SecurityError> {
        let unusable = |reason| SecurityError::Certificate { directory: dir.to_owned(), reason };
        let own = authority.issue(&options.hostnames).map_err(unusable)?;
        let owners = match &options.certificate {
            Some((certificate, key)) => Some(read(certificate, key, &authority)?),
            None => None,
        };
        Ok(Arc::new(Self { authority, options, shown: RwLock::new(Shown { own, owners }) }))
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    pub(super) fn config(self: &Arc<Self>) -> Result<ServerConfig, String> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Is this a name under which clients reach the server, besides loopback names?
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.options.hostnames.iter().any(|own| own.eq_ignore_ascii_case(name))
            || self.shown().owners.is_some_and(|owners| fits(&owners, name))
    }

    /// Keeps all certificates fresh; never ends.
    pub(super) async fn keep(&self) {
        let mut made = Instant::now();
        let mut stamp = self.stamp();
        loop {
            tokio::time::sleep(LOOK).await;
            if made.elapsed() >= RENEW {
                made = Instant::now();
                self.renew();
            }
            let now = self.stamp();
            if now != stamp && self.reload() {
                stamp = now;
            }
        }
    }

    pub(super) fn renew(&self) {
        match self.authority.issue(&self.options.hostnames) {
            Ok(own) => self.shown.write().unwrap_or_else(PoisonError::into_inner).own = own,
            Err(error) => tracing::error!(error, "the server certificate could not be renewed"),
        }
    }

    /// Reads the owner's files again. When they are not usable the old ones go on, and it is tried again.
    pub(super) fn reload(&self) -> bool {
        let Some((certificate, key)) = &self.options.certificate else { return true };
        match read(certificate, key, &self.authority) {
            Ok(owners) => {
                self.shown.write().unwrap_or_else(PoisonError::into_inner).owners = Some(owners);
                tracing::info!(file = %certificate.display(), "the certificate was read again");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the old certificate stays in use");
                false
            }
        }
    }

    /// When the owner's files were changed last.
    fn stamp(&self) -> Option<(SystemTime, SystemTime)> {
        let (certificate, key) = self.options.certificate.as_ref()?;
        let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
        modified(certificate).zip(modified(key))
    }

    fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Shown { own, owners } = self.shown();
        let named = hello.server_name();
        Some(owners.filter(|owners| named.is_some_and(|name| fits(owners, name))).unwrap_or(own))
    }
}

/// Is a certificate for this name?
fn fits(key: &CertifiedKey, name: &str) -> bool {
    let (Ok(name), Some(first)) = (ServerName::try_from(name), key.cert.first()) else { return false };
    ParsedCertificate::try_from(first)
        .is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
}

fn read(certificate: &Path, key: &Path, authority: &Authority) -> Result<Arc<CertifiedKey>, SecurityError> {
    let unusable = |path: &Path, reason: String| SecurityError::Owners { path: path.to_owned(), reason };
    let load = |path: &Path| {
        std::fs::read(path).map_err(|source| SecurityError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&load(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(certificate, error.to_string()))?;
    let Some(first) = chain.first() else {
        return Err(unusable(certificate, "it holds no certificate in PEM form".into()));
    };
    if is_outdated(first, authority) {
        return Err(unusable(certificate, "the certificate has expired, or is not valid yet".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&load(key)?)
        .map_err(|error| unusable(key, format!("it holds no private key in PEM form ({error})")))?;
    certified(chain, private).map_err(|reason| unusable(certificate, reason))
}
