//! What the integration tests share: the real binary in a sealed directory, and waiting.

pub mod agents;
pub mod cli;
pub mod http;
pub mod master;
pub mod processes;
pub mod skip;
pub mod wait;
