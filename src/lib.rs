//! gcluster: a Kubernetes-style control plane for teams of coding agents, in one program.
//!
//! - [`cli`] one file per verb; [`render`] turns objects and transcripts into text for it;
//! - [`client`] talks to a master; [`serve`] is one: store, API server and controllers joined;
//! - `changes` reads what was made for a ticket, `describe` an object with what belongs to it, `rollback` writes an older
//!   revision's text: for the command line and for the screen;
//! - `notify` tells a service manager; [`exit`] how a command ends; [`config`] where things are; [`telemetry`] logs.

mod changes;
pub mod cli;
pub mod client;
pub mod config;
mod describe;
pub mod exit;
mod notify;
pub mod render;
mod rollback;
pub mod serve;
pub mod telemetry;
pub mod tui;

#[cfg(test)]
mod testing;
