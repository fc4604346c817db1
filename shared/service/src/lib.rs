//! What every server of the fleet is as a process: its command line, its health as seen from
//! beside it, and the requests to end.

mod arguments;
mod ending;
mod health;

pub use arguments::{Mode, UnknownArgument};
pub use ending::Ending;
pub use health::is_well;
