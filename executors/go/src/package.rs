//! Which package of a module to build: the one that the entry file is in.

use executor::Program;
use protocol::Diagnostic;

/// Makes the first source file the entry, and sets `package`, its directory, for `go build`.
// The hook's type has room for diagnostics; here the compiler has the word.
#[expect(clippy::unnecessary_wraps, reason = "the shape of the hook")]
pub(crate) fn prepare(mut program: Program) -> Result<Program, Vec<Diagnostic>> {
    let is_source = |path: &str| path.rsplit_once('.').is_some_and(|(_, it)| it == "go");
    if !is_source(&program.entry)
        && let Some(source) = program.files.iter().find(|file| is_source(&file.path))
    {
        program.entry.clone_from(&source.path);
    }
    let package = match program.entry.rsplit_once('/') {
        Some((directory, _)) => format!("./{directory}"),
        None => ".".to_owned(),
    };
    program.variables.insert("package".to_owned(), package);
    Ok(program)
}

#[cfg(test)]
mod tests {
    use protocol::SourceFile;

    use super::*;

    #[track_caller]
    fn check(paths: &[&str], entry: &str, package: &str) {
        let file = |path: &&str| SourceFile { path: (*path).to_owned(), content: Vec::new() };
        let program = Program {
            language: "go".to_owned(),
            entry: paths[0].to_owned(),
            files: paths.iter().map(file).collect(),
            named: true,
            variables: [].into(),
        };
        let program = prepare(program).unwrap();
        assert_eq!(
            (program.entry.as_str(), program.variables["package"].as_str()),
            (entry, package)
        );
    }

    #[test]
    fn the_package_is_the_directory_of_the_entry() {
        check(&["main.go"], "main.go", ".");
        check(&["cmd/app/main.go", "go.mod"], "cmd/app/main.go", "./cmd/app");
    }

    #[test]
    fn the_entry_is_a_source_file() {
        check(&["go.mod", "x/y.txt", "main.go"], "main.go", ".");
        check(&["go.mod"], "go.mod", ".");
    }
}
