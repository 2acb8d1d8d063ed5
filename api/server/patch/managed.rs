//! patch/managed
