//! gcluster
fn main() {}
