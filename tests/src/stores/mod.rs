//! Servers that keep jobs, started for tests and gone with them.

mod redis;

pub use redis::RedisServer;
