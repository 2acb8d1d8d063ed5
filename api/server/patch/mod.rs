//! The four ways to change an object by a patch, and who owns which field afterwards.
//!
//! | content type | module |
//! | --- | --- |
//! | `application/merge-patch+json` | [`merge`] |
//! | `application/json-patch+json` | [`json`] |
//! | `application/strategic-merge-patch+json` | [`strategic`] |
//! | `application/apply-patch+yaml` | [`apply`] |

pub mod apply;
mod compare;
mod fieldset;
pub mod json;
pub mod managed;
pub mod merge;
pub mod strategic;
