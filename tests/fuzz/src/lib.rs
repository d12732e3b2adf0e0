//! What the fuzz targets share: the domain itself, compiled once more with the fuzzer's eyes in it, what must hold of every
//! document, and the making of hostile ones.
//!
//! Only the functions that read documents are called here, and no field is named, so that the harness does not change with
//! the terms.

#[path = "../../../src/domain/mod.rs"]
pub mod domain;

pub mod hold;
pub mod hostile;
pub mod seeds;
