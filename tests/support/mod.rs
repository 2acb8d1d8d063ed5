//! What the integration tests share: the real binary in a sealed directory, and waiting.

pub(crate) mod agents;
pub(crate) mod claude;
pub(crate) mod cli;
pub(crate) mod git;
pub(crate) mod http;
pub(crate) mod kube;
pub(crate) mod kubectl;
pub(crate) mod master;
pub(crate) mod processes;
pub(crate) mod repo;
pub(crate) mod skip;
pub(crate) mod wait;
