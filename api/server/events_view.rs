//! events_view
