//! Canonical S-expressions.
