//! serve
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
#[derive(Clone, Debug)]
pub struct Config {
    pub addr: SocketAddr,
    pub data_dir: PathBuf,
    pub backend: String,
    pub max_running: Option<usize>,
    pub version: String,
}
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("taken")]
    PortTaken {},
    #[error("in use")]
    DataDirInUse {},
    #[error("x")]
    Other,
}
#[derive(Debug)]
pub struct Handle;
#[derive(Debug)]
pub struct Killer;
impl Killer {
    pub fn kill(&self) {}
}
impl Handle {
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
    pub fn kubeconfig(&self) -> &Path {
        Path::new("")
    }
    pub fn killer(&self) -> Killer {
        Killer
    }
    pub async fn stop(self) {}
}
pub async fn start(_: Config) -> Result<Handle, StartError> {
    Err(StartError::Other)
}
