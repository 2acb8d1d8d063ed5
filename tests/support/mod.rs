//! What the integration tests share: the real binary in a sealed directory, and waiting.

pub mod cli;
pub mod master;
pub mod skip;
pub mod wait;
