//! patch/merge
