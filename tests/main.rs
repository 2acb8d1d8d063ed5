//! The integration tests: one binary, one module a subject. `architecture` fails when a file is forgotten here.

// A failed expectation is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adoption;
mod adoption_claude;
mod agent_programs;
mod architecture;
mod backlog;
mod budgets;
mod checks;
mod claude_real;
mod cli_apply;
mod cli_get;
mod clients_controller;
mod clients_http;
mod clients_kube;
mod codex_real;
mod completion;
mod crash;
mod credentials;
mod custom_kinds;
mod defects;
mod durability;
mod edit;
mod execution;
mod forecast;
mod kubectl;
mod kubectl_core;
mod kubectl_delete;
mod kubectl_read;
mod kubectl_write;
mod line_protocol;
mod master_process;
mod merges;
mod messages;
mod packaging;
mod processes;
mod python_clients;
mod readme;
mod repositories;
mod reviews;
mod rollout;
mod service;
mod service_systemd;
mod stalls;
mod steer;
mod supervision;
mod support;
mod sync;
mod ticket_claude;
mod ticket_flow;
mod ticket_team;
mod tickets;
mod workspaces;
