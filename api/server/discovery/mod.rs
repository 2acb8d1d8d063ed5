//! discovery/mod
