//! See `api/server/tests/fuzz/requests.rs`.

#![no_main]

#[path = "../../api/server/tests/fuzz/mod.rs"]
#[allow(dead_code)]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::requests::run(data));
