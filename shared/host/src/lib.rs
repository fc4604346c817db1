//! What the machine, or the container around us, holds: memory, processes, room for files.
//!
//! Only what is written in `/proc`, `/sys` and file systems is read here; what a kernel refuses
//! is proven by doing, in `sandbox`.

mod cgroup;
mod memory;
mod place;
mod processes;

pub use memory::{Memory, SERVER_MB, Whose, memory};
pub use place::{Place, place, state_directory};
pub use processes::{Processes, processes};

/// Processors that this process may use: fewer than the machine has where a cgroup or a mask
/// says so.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
