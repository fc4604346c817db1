//! The few things that a server can be told on its command line; the rest are settings.

/// What a process is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Serve.
    Serve {
        /// End when standard input ends too: whoever started us is gone then.
        end_with_stdin: bool,
    },
    /// Tell what this server is, and end.
    Describe,
    /// Ask the server on the same port whether it is well, and end.
    HealthCheck,
    /// Tell what there is to tell, and end.
    Help,
}

/// An argument that no server takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown argument `{0}`; try --help")]
pub struct UnknownArgument(String);

impl Mode {
    /// The lines of a help text about these arguments.
    pub const HELP: &str = "\
--describe             print what this server is, as JSON
--healthcheck          exit 0 if the server on this port is well
--drain-on-stdin-eof   drain when standard input ends
--help                 print this text
";

    /// Parses the arguments behind a program's name.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, UnknownArgument> {
        let mut mode = Self::Serve { end_with_stdin: false };
        for argument in arguments {
            mode = match argument.as_str() {
                "--drain-on-stdin-eof" => Self::Serve { end_with_stdin: true },
                "--describe" => Self::Describe,
                "--healthcheck" => Self::HealthCheck,
                "--help" | "-h" => Self::Help,
                _ => return Err(UnknownArgument(argument)),
            };
        }
        Ok(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Mode, UnknownArgument> {
        Mode::parse(arguments.iter().map(|it| (*it).to_owned()))
    }

    #[test]
    fn a_server_serves_unless_told_otherwise() {
        assert_eq!(parse(&[]), Ok(Mode::Serve { end_with_stdin: false }));
        assert_eq!(parse(&["--drain-on-stdin-eof"]), Ok(Mode::Serve { end_with_stdin: true }));
        assert_eq!(parse(&["--healthcheck"]), Ok(Mode::HealthCheck));
    }

    #[test]
    fn an_unknown_argument_is_named() {
        let message = parse(&["--prot"]).unwrap_err().to_string();
        assert_eq!(message, "unknown argument `--prot`; try --help");
    }
}
