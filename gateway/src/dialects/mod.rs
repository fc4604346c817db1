//! Wire contracts of others, one file each: thin translations to what this gateway does anyway.

pub(crate) mod job_api;
