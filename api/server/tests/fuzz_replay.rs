//! The fuzz targets on what they once found, and on some random bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::fuzz;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/regressions").join(target);
    let files =
        std::fs::read_dir(&folder).map(|files| files.flatten().collect()).unwrap_or_else(|_| Vec::new());
    for file in files {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(
            catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_ok(),
            "{} fails again",
            file.path().display()
        );
    }
}

macro_rules! targets {
    ($($name:ident $cases:literal)*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name), fuzz::$name::run);
            let config = ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(config, |(bytes in vec(any::<u8>(), 0..200))| fuzz::$name::run(&bytes));
        }
    )*};
}

targets! {
    apply 3000
    line 300
    patches 2000
    requests 500
    selectors 200
}
