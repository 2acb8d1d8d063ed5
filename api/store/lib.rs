//! gcluster-store
