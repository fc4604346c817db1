//! Processes with pipes, an environment, an exit code and a signal.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

fn main() -> std::io::Result<()> {
    let mut upper =
        Command::new("tr").args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    upper.stdin.take().unwrap().write_all(b"abc")?;
    let mut text = String::new();
    upper.stdout.take().unwrap().read_to_string(&mut text)?;
    assert!(upper.wait()?.success());
    let shell = Command::new("sh").args(["-c", "echo $WORD >&2; exit 3"]).env("WORD", "told").output()?;
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    assert!(sleeper.try_wait()?.is_none());
    sleeper.kill()?;
    assert_eq!(sleeper.wait()?.code(), None);
    let first = Command::new("printf").arg("b\\na\\n").stdout(Stdio::piped()).spawn()?;
    let second = Command::new("sort").stdin(first.stdout.unwrap()).output()?;
    assert_eq!((text.as_str(), shell.status.code(), shell.stderr.as_slice()), ("ABC", Some(3), &b"told\n"[..]));
    assert_eq!(second.stdout, b"a\nb\n");
    println!("works");
    Ok(())
}
