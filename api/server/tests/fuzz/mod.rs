//! What the fuzz targets do with their bytes. `fuzz/` runs these functions under libFuzzer; here they meet what was
//! found (`tests/fuzz/regressions/TARGET/*`) and some random bytes on every test run.

pub mod apply;
pub mod patches;
pub mod requests;
pub mod selectors;
pub mod source;
