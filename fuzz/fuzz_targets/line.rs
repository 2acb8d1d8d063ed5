//! See `api/server/tests/fuzz/line.rs`.

#![no_main]

#[path = "../../api/server/tests/fuzz/mod.rs"]
#[allow(dead_code)]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::line::run(data));
