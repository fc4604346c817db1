//! Starts the operator's own tools, at boot, to learn about them: unconfined, bounded in time.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wait_timeout::ChildExt as _;

/// Most that is read of a tool's output, in bytes.
const OUTPUT_MAX: u64 = 256 * 1024;

/// What a tool said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// Both of its streams, the standard output first.
    pub text: String,
    /// Whether it exited with 0.
    pub succeeded: bool,
}

/// Starts a tool of the operator with our own environment and rights, and waits for it for at
/// most `timeout`. Must not be called once a spawner was started: that one reaps every child.
pub fn start_tool(
    program: &Path,
    arguments: &[String],
    timeout: Duration,
) -> io::Result<ToolOutput> {
    #[expect(clippy::disallowed_methods, reason = "a toolchain tells its version only if started")]
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let streams = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let (stdout, stderr) = streams;
        if let Some(stdout) = stdout {
            stdout.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
        }
        if let Some(stderr) = stderr {
            stderr.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
        }
        io::Result::Ok(bytes)
    });
    let Some(status) = child.wait_timeout(timeout)? else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::other(format!("did not answer within {} s", timeout.as_secs())));
    };
    let bytes = reader.join().map_err(|_panic| io::Error::other("its output was not read"))??;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(ToolOutput { text, succeeded: status.success() })
}
