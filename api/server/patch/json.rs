//! patch/json
