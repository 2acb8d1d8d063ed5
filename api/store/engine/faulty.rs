//! An engine that fails where a test says so.
