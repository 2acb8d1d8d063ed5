//! gcluster
