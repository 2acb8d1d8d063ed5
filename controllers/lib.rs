//! gcluster-controllers
