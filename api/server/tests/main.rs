//! The API as clients see it: in process, and over a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod audit;
mod builtin;
mod bundles;
mod concurrency;
mod crds;
mod exactness;
mod floods;
mod fuzz;
mod fuzz_replay;
mod kubectl;
mod limits;
mod line;
mod model;
mod objects;
mod socket;
mod support;
mod tls;
mod watches;
