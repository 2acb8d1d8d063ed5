//! The integration tests: one binary, one module a subject. `architecture` fails when a file is forgotten here.

mod architecture;
mod claude_real;
mod cli_apply;
mod cli_get;
mod defects;
mod durability;
mod execution;
mod kubectl;
mod master_process;
mod readme;
mod support;
