//! gcluster-lang
