//! What the fuzz targets do with their bytes. `fuzz/` runs these functions under libFuzzer; here they meet what was
//! found (`tests/fuzz/regressions/TARGET/*`) and some random bytes on every test run.

pub(crate) mod apply;
pub(crate) mod line;
pub(crate) mod patches;
pub(crate) mod requests;
pub(crate) mod selectors;
pub(crate) mod source;
