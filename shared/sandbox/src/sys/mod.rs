//! The kernel's ideas, one a file. The only unsafe code of what serves is in here.
#![expect(unsafe_code, reason = "system calls that no safe wrapper has")]

pub(crate) mod attempts;
pub(crate) mod descriptors;
pub(crate) mod identity;
pub(crate) mod landlock;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod title;
