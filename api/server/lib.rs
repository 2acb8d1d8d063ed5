//! gcluster-server
