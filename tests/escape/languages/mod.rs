//! The basics once in every language: its own ways of reading, writing, connecting, signalling
//! and staying.

pub(crate) mod go;
pub(crate) mod java;
pub(crate) mod javascript;
pub(crate) mod rust;
