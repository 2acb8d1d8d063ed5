//! See `api/server/tests/fuzz/patches.rs`.

#![no_main]

#[path = "../../api/server/tests/fuzz/mod.rs"]
#[allow(dead_code)]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::patches::run(data));
