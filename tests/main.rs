//! The integration tests: one binary, one module a subject. `architecture` fails when a file is forgotten here.

mod architecture;
mod support;
