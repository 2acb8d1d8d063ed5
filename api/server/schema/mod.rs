//! schema/mod
