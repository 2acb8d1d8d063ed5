//! `gcluster steer`: every agent on one screen, and a hand on each of them.
//!
//! ```text
//! informer ─┐
//! keys ─────┼─▶ Msg ─▶ update(&mut Model) ─▶ Effect ─▶ task ─▶ Msg
//! ticks ────┘                 │
//!                             └─▶ draw(&Model) at most 30 times a second, and never without a change
//! ```
//!
//! A client of the API and nothing else: closing it changes nothing on the master.

mod actions;
pub(crate) mod app;
pub mod command;
pub mod conversation;
pub mod detail;
pub mod editor;
pub mod filter;
#[cfg(test)]
mod fixture;
pub mod fleet;
mod hub;
mod informer;
pub mod keys;
pub mod layout;
pub mod line_edit;
pub mod markdown;
pub mod model;
pub mod msg;
pub mod need;
pub(crate) mod record;
pub mod sheet;
pub mod start;
pub(crate) mod terminal;
#[cfg(test)]
mod testing;
pub mod text;
pub mod theme;
pub mod tickets;
pub mod tree;
pub mod update;
pub mod view;
