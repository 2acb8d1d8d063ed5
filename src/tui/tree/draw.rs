//! Drawing the tree.
