//! Who may come in: certificate and tokens in the data directory, and the checks of every request that
//! comes over the network.
//!
//! ```text
//! ca.crt ca.key        made once, pinned in the kubeconfig
//! admin.token          may do everything
//! viewer.token         may get, list and watch
//! agents.key           signs the tokens of agents
//! kubeconfig           server, CA, admin token
//! ```

mod agents;
mod certificate;
mod files;
mod guard;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::ServerConfig;
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use agents::AgentTokens;

use crate::identity::Identity;
pub(crate) use guard::guarded;
use tls::Certificates;
pub use tls::TlsOptions;

/// Why the secrets could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A certificate or key is not usable.
    #[error("cannot use the certificate in {}: {reason}; remove the directory's *.crt and *.key files to have new ones made", .directory.display())]
    Certificate {
        /// The data directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// The owner's certificate or key is not usable.
    #[error("cannot use {} for TLS: {reason}", .path.display())]
    Owners {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Certificate and tokens of one data directory.
#[derive(Clone)]
pub struct Security {
    certificates: Arc<Certificates>,
    tls: Arc<ServerConfig>,
    admin: Arc<str>,
    admin_digest: [u8; 32],
    viewer_digest: [u8; 32],
    agents: AgentTokens,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Security { … }")
    }
}

impl Security {
    /// Reads the secrets of a data directory, and makes those that are not there. Files have mode 0600.
    ///
    /// # Errors
    /// See [`SecurityError`].
    pub fn open(data_dir: &Path) -> Result<Self, SecurityError> {
        Self::open_with(data_dir, TlsOptions::default())
    }

    /// The same with further certificates or names.
    ///
    /// # Errors
    /// See [`SecurityError`].
    pub fn open_with(data_dir: &Path, options: TlsOptions) -> Result<Self, SecurityError> {
        files::private_dir(data_dir)?;
        let unusable = |reason| SecurityError::Certificate { directory: data_dir.to_owned(), reason };
        let authority = certificate::authority(data_dir)?;
        let certificates = Certificates::open(data_dir, authority, options)?;
        let tls = certificates.config().map_err(unusable)?;
        let admin = token(&data_dir.join("admin.token"))?;
        let viewer = token(&data_dir.join("viewer.token"))?;
        let agents = AgentTokens::open(data_dir)?;
        Ok(Self {
            agents,
            tls: Arc::new(tls),
            certificates,
            admin_digest: digest(&admin),
            viewer_digest: digest(&viewer),
            admin: admin.into(),
        })
    }

    /// Writes the kubeconfig for an address, atomically and for its owner alone. Answers its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_kubeconfig(&self, data_dir: &Path, addr: SocketAddr) -> std::io::Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "gcluster", "cluster": {
                "server": url(addr),
                // Clients on this machine would only spend time on it.
                "disable-compression": true,
                "certificate-authority-data": BASE64_STANDARD.encode(self.certificates.ca_pem()),
            }}],
            "users": [{"name": "gcluster", "user": {"token": &*self.admin}}],
            "contexts": [{"name": "gcluster", "context": {
                "cluster": "gcluster", "user": "gcluster", "namespace": "default",
            }}],
            "current-context": "gcluster",
        });
        let text = serde_yaml::to_string(&config).map_err(std::io::Error::other)?;
        let path = data_dir.join("kubeconfig");
        files::write_private(&path, text.as_bytes())?;
        Ok(path)
    }

    /// The token that opens everything.
    pub(crate) fn admin_token(&self) -> Arc<str> {
        Arc::clone(&self.admin)
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls)
    }

    /// Keeps the certificates fresh; never ends.
    pub(crate) async fn keep(&self) {
        self.certificates.keep().await;
    }

    /// Is this a name under which clients reach the server, besides loopback names?
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.certificates.has_name(name)
    }

    /// Whose token this is; none when nobody's. Takes the same time for every wrong one. Whether an agent still
    /// exists is another question.
    pub(crate) fn identify(&self, token: &str) -> Option<Identity> {
        let digest = digest(token);
        let (admin, viewer) = (equal(&digest, &self.admin_digest), equal(&digest, &self.viewer_digest));
        match (admin, viewer) {
            (true, _) => Some(Identity::Admin),
            (_, true) => Some(Identity::Viewer),
            _ => self.agents.recognise(token).map(|agent| Identity::Agent(Arc::new(agent))),
        }
    }

    /// The token of one life of one agent: for its programs, and nobody else. It counts as long as an agent with
    /// this uid exists.
    pub fn agent_token(&self, namespace: &str, name: &str, uid: &str) -> String {
        self.agents.issue(namespace, name, uid)
    }

    /// The file with the certificate authority that the server's certificate is of.
    pub fn authority_file(data_dir: &Path) -> PathBuf {
        data_dir.join("ca.crt")
    }
}

/// The URL under which programs of this machine reach a master that listens on `addr`.
pub fn url(addr: SocketAddr) -> String {
    let mut reach = addr;
    if addr.ip().is_unspecified() {
        reach.set_ip(match addr {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("https://{reach}")
}

/// Digests are compared, so that not even the length of a token shows.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

/// Reads a token, or makes one of 32 random bytes.
fn token(path: &Path) -> Result<String, SecurityError> {
    if let Some(bytes) = files::read_private(path)? {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.len() >= 32 && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(text);
        }
    }
    let mut random = [0_u8; 32];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut random).map_err(|_| {
        SecurityError::File {
            action: "make",
            path: path.to_owned(),
            source: std::io::Error::other("the operating system gives no random numbers"),
        }
    })?;
    let text = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random);
    files::write_private(path, text.as_bytes()).map_err(|source| SecurityError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests;
