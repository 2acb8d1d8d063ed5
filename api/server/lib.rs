//! HTTP semantics of the Kubernetes API over the store.

pub mod discovery;
pub mod events_view;
pub mod kinds;
pub mod openapi;
pub mod patch;
pub mod schema;
pub mod table;
