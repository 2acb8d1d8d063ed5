//! kube-rs clients over real sockets, and a relay that can be cut.

use std::sync::{Arc, Mutex};

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::cli::Sandbox;
use super::http::token;

/// A client with the kubeconfig that the master wrote: TLS with the pinned CA, and the token.
pub(crate) async fn over_tls(sandbox: &Sandbox) -> Client {
    let file = Kubeconfig::read_from(sandbox.data().join("kubeconfig")).expect("kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("config");
    Client::try_from(config).expect("client")
}

/// A client over plain HTTP.
pub(crate) fn over_http(sandbox: &Sandbox, address: &str) -> Client {
    let mut config = Config::new(format!("http://{address}").parse().expect("address"));
    config.auth_info = AuthInfo { token: Some(token(sandbox).into()), ..AuthInfo::default() };
    Client::try_from(config).expect("client")
}

/// Passes connections on to a master, until they are cut.
pub(crate) struct Relay {
    address: String,
    target: Arc<Mutex<String>>,
    open: Arc<Mutex<JoinSet<()>>>,
}

impl Relay {
    /// Listens on a free port.
    pub(crate) async fn to(target: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("address").to_string();
        let target = Arc::new(Mutex::new(target.to_owned()));
        let open = Arc::new(Mutex::new(JoinSet::new()));
        let (to, all) = (Arc::clone(&target), Arc::clone(&open));
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let to = to.lock().expect("target").clone();
                all.lock().expect("open").spawn(async move {
                    if let Ok(mut outside) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            }
        });
        Relay { address, target, open }
    }

    /// `host:port` that it listens on.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Ends all connections; new ones go to this master.
    pub(crate) fn cut(&self, target: &str) {
        *self.target.lock().expect("target") = target.to_owned();
        *self.open.lock().expect("open") = JoinSet::new();
    }
}
