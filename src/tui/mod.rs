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

pub mod conversation;
pub mod editor;
pub mod markdown;
pub mod text;
pub mod theme;

pub mod filter;
pub mod fleet;
mod hub;
mod informer;
pub mod msg;
pub mod need;
pub mod tree;

#[cfg(test)]
mod testing;
