//! Models; see `cargo xtask loom`.
