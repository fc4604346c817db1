//! The programs that are measured: `executors/*/bench/*.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One program, and how it runs without us.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Program {
    /// The file's name without its extension, such as `hello`.
    pub(crate) name: String,
    /// The language.
    pub(crate) language: String,
    /// The body of `POST /execute`, without the language.
    body: Map<String, Value>,
    code: String,
    file: ProgramFile,
    floor: Option<Box<Program>>,
}

/// A program's file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramFile {
    /// What it must print.
    expected: String,
    /// A comment that makes the source another one, with `{n}` for a number; only where
    /// something is compiled that could be cached.
    #[serde(default)]
    unique: Option<String>,
    /// The file that the bare toolchain finds the source in.
    entry: String,
    /// Commands that print where a toolchain's real program is. A shim that looks for it on every
    /// start would make the bare side slower than it has to be.
    #[serde(default)]
    programs: BTreeMap<String, Vec<String>>,
    /// The commands that run it in a shell, one after the other; `{dir}` is where the source is,
    /// and a name of `programs` stands for that program.
    #[serde(default)]
    bare: Vec<Vec<String>>,
    /// Another program of this folder, than which no toolchain can run this one quicker. It runs
    /// bare in its stead where one of `programs` is not installed.
    #[serde(default)]
    floor: Option<String>,
    /// The body of `POST /execute`, with the language.
    body: Map<String, Value>,
}

impl Program {
    fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut file: ProgramFile = toml::from_str(text)?;
        let mut body = std::mem::take(&mut file.body);
        let mut take = |field: &str| match body.remove(field) {
            Some(Value::String(text)) => Ok(text),
            _ => bail!("`body.{field}` must be a string"),
        };
        let (language, code) = (take("language")?, take("code")?);
        Ok(Self { name: name.to_owned(), language, body, code, file, floor: None })
    }

    /// What it is called in messages.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.language, self.name)
    }

    /// What it must print.
    pub(crate) fn expected(&self) -> &str {
        &self.file.expected
    }

    /// Whether its source can differ from run to run.
    pub(crate) fn can_differ(&self) -> bool {
        self.file.unique.is_some()
    }

    /// The source; `number` makes it one of its own, if it can differ.
    pub(crate) fn source(&self, number: u64) -> String {
        match &self.file.unique {
            // At the end, so that nothing else moves.
            Some(comment) => {
                format!("{}\n{}\n", self.code, comment.replace("{n}", &number.to_string()))
            }
            None => self.code.clone(),
        }
    }

    /// The body of a request for `number`'s source.
    pub(crate) fn request(&self, number: u64) -> Value {
        let mut body = self.body.clone();
        body.insert("language".to_owned(), Value::String(self.language.clone()));
        body.insert("code".to_owned(), Value::String(self.source(number)));
        Value::Object(body)
    }

    /// The body of a request that only looks at `number`'s source.
    pub(crate) fn validation(&self, number: u64) -> Value {
        json!({ "language": self.language, "code": self.source(number) })
    }

    /// Where the bare toolchain finds the source below `directory`.
    pub(crate) fn entry(&self, directory: &Path) -> PathBuf {
        directory.join(&self.file.entry)
    }

    /// Commands that print where the programs of the bare commands are, by name.
    pub(crate) fn programs(&self) -> &BTreeMap<String, Vec<String>> {
        &self.file.programs
    }

    /// What runs bare in its stead where its own toolchain is not installed.
    pub(crate) fn floor(&self) -> Option<&Program> {
        self.floor.as_deref()
    }

    /// The bare commands with their placeholders filled in.
    pub(crate) fn bare(&self, places: &BTreeMap<String, String>) -> Vec<Vec<String>> {
        let fill = |word: &String| {
            places.iter().fold(word.clone(), |word, (name, place)| {
                word.replace(&format!("{{{name}}}"), place)
            })
        };
        self.file.bare.iter().map(|words| words.iter().map(fill).collect()).collect()
    }
}

/// Every program of the checkout, in the order of folders, languages and names.
pub(crate) fn load(checkout: &Path) -> anyhow::Result<Vec<Program>> {
    let mut programs = Vec::new();
    for folder in list(&checkout.join("executors"))? {
        let bench = folder.join("bench");
        if bench.is_dir() {
            programs.extend(load_folder(&bench)?);
        }
    }
    Ok(programs)
}

fn load_folder(bench: &Path) -> anyhow::Result<Vec<Program>> {
    let files = list(bench)?.into_iter().filter(|it| it.extension() == Some("toml".as_ref()));
    let parse = |file: PathBuf| {
        let name = file.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
        let text = std::fs::read_to_string(&file)?;
        Program::parse(name, &text).with_context(|| file.display().to_string())
    };
    let mut programs = files.map(parse).collect::<anyhow::Result<Vec<Program>>>()?;
    programs.sort_by(|one, other| (&one.language, &one.name).cmp(&(&other.language, &other.name)));
    with_floors(programs).with_context(|| bench.display().to_string())
}

fn with_floors(programs: Vec<Program>) -> anyhow::Result<Vec<Program>> {
    let all = programs.clone();
    let with_floor = |mut program: Program| {
        if let Some(name) = &program.file.floor {
            let floor = all.iter().find(|it| it.name == *name);
            let floor = floor.with_context(|| format!("there is no program `{name}`"))?;
            program.floor = Some(Box::new(floor.clone()));
        }
        Ok(program)
    };
    programs.into_iter().map(with_floor).collect()
}

fn list(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
impl Program {
    /// A program that prints `1`.
    pub(crate) fn sample() -> Self {
        let [program] = &Self::all(&[("hello", tests::TEXT)])[..] else { panic!("one program") };
        program.clone()
    }

    /// The programs of a folder, by their names and texts.
    pub(crate) fn all(files: &[(&str, &str)]) -> Vec<Self> {
        let parse = |(name, text): &(&str, &str)| Self::parse(name, text).unwrap();
        with_floors(files.iter().map(parse).collect()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const TEXT: &str = r##"
        expected = "1\n"
        unique = "# {n}"
        entry = "main.a"
        bare = [["{a}", "{dir}/main.a"]]
        programs = { a = ["which", "a"] }
        [body]
        language = "alpha"
        code = "print 1"
        timeout = 5
    "##;

    #[test]
    fn each_run_of_a_compiled_program_has_a_source_of_its_own() {
        let program = Program::parse("hello", TEXT).unwrap();
        assert!(program.can_differ());
        assert_eq!(program.source(7), "print 1\n# 7\n");
        let body = program.request(7);
        assert_eq!((&body["language"], &body["timeout"]), (&"alpha".into(), &5.into()));
        assert_eq!(body["code"], "print 1\n# 7\n");
    }

    #[test]
    fn the_bare_commands_know_where_all_is() {
        let program = Program::parse("hello", TEXT).unwrap();
        let places = [("a", "/bin/a"), ("dir", "/d")];
        let places = places.map(|(name, place)| (name.to_owned(), place.to_owned())).into();
        assert_eq!(program.bare(&places), [["/bin/a", "/d/main.a"]]);
        assert_eq!(program.entry(Path::new("/d")), Path::new("/d/main.a"));
    }

    #[test]
    fn a_floor_is_a_program_of_the_same_folder() {
        let floored = format!("floor = \"low\"\n{TEXT}");
        let program = |name, text| Program::parse(name, text).unwrap();
        let both = vec![program("high", floored.as_str()), program("low", TEXT)];
        let both = with_floors(both).unwrap();
        let floors: Vec<Option<&str>> =
            both.iter().map(|it| it.floor().map(|it| it.name.as_str())).collect();
        assert_eq!(floors, [Some("low"), None]);
        assert!(with_floors(vec![program("high", &floored)]).is_err());
    }

    #[test]
    fn every_language_of_this_checkout_has_a_small_and_a_realistic_program() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let programs = load(checkout).unwrap();
        for program in &programs {
            for kind in ["hello", "real"] {
                let is_such =
                    |it: &&Program| it.language == program.language && it.name.starts_with(kind);
                assert!(programs.iter().any(|it| is_such(&it)), "{} {kind}", program.language);
            }
        }
    }

    #[test]
    fn every_program_of_this_checkout_parses() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for program in load(checkout).unwrap() {
            assert!(!program.expected().is_empty(), "{} {}", program.language, program.name);
        }
    }
}
