//! The three ways to change an object by a patch, and who owns which field afterwards.

pub mod apply;
pub mod json;
pub mod managed;
pub mod merge;
