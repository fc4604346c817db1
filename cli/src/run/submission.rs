//! A file on disk as the body of a request.

use std::io::{IsTerminal as _, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::exit::{INTERNAL, REFUSED, STREAM_BROKE, USAGE};
use super::{Fault, FleetAddress, RunArguments};

/// A fleet takes less; this only keeps us from reading a device without end. In bytes.
const READ_MAX: u64 = 64 * 1024 * 1024;

/// A language as the fleet lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Language {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    entry: String,
}

/// What `GET /v1/languages` answers.
#[derive(Debug, Deserialize)]
struct Languages {
    languages: Vec<Language>,
}

/// Reads the file, standard input, and, to tell the language, what the fleet can run.
pub(super) async fn read(arguments: &RunArguments, fleet: &FleetAddress) -> Result<Value, Fault> {
    let path = &arguments.file;
    let file = std::fs::File::open(path);
    let content = file
        .and_then(read_bounded)
        .map_err(|error| Fault::new(USAGE, format!("cannot read {}: {error}", path.display())))?;
    let language = match &arguments.language {
        Some(language) => language.clone(),
        None => language_of(path, &languages(fleet).await?)?,
    };
    let mut body = Map::new();
    body.insert("language".to_owned(), json!(language));
    body.insert("files".to_owned(), json!([source(path, content)?]));
    body.insert("inputData".to_owned(), json!(standard_input().await?));
    body.insert("args".to_owned(), json!(arguments.args));
    body.insert("env".to_owned(), Value::Object(variables(&arguments.variables)?));
    body.insert("compilerOptions".to_owned(), json!(arguments.options));
    let choices = [
        ("timeout", json!(arguments.timeout)),
        ("memoryLimit", json!(arguments.memory)),
        ("version", json!(arguments.version)),
    ];
    let chosen = choices.into_iter().filter(|(_, value)| !value.is_null());
    body.extend(chosen.map(|(name, value)| (name.to_owned(), value)));
    Ok(Value::Object(body))
}

async fn languages(fleet: &FleetAddress) -> Result<Vec<Language>, Fault> {
    let answer = fleet.ask(fleet.client.get(format!("{}/v1/languages", fleet.url))).await?;
    let body = answer.bytes().await.map_err(|error| {
        Fault::new(STREAM_BROKE, format!("the answer broke off: {}", super::chain(&error)))
    })?;
    let list = serde_json::from_slice::<Languages>(&body);
    list.map(|it| it.languages)
        .map_err(|error| Fault::new(REFUSED, format!("{} lists no languages: {error}", fleet.url)))
}

/// The language whose entry file, or one of whose names, has the file's extension.
fn language_of(path: &Path, languages: &[Language]) -> Result<String, Fault> {
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    let by_entry =
        |it: &&Language| Path::new(&it.entry).extension().is_some_and(|it| it == extension);
    let by_name =
        |it: &&Language| it.id == extension || it.aliases.iter().any(|it| it == extension);
    let found = languages.iter().find(by_entry).or_else(|| languages.iter().find(by_name));
    found.map(|it| it.id.clone()).ok_or_else(|| {
        let known: Vec<&str> = languages.iter().map(|it| it.id.as_str()).collect();
        Fault::new(
            USAGE,
            format!(
                "{} tells no language of the fleet; name one with --language: {}",
                path.display(),
                known.join(", "),
            ),
        )
    })
}

/// The file under its own name, so that messages name it.
fn source(path: &Path, content: Vec<u8>) -> Result<Value, Fault> {
    let name = path
        .file_name()
        .and_then(|it| it.to_str())
        .ok_or_else(|| Fault::new(USAGE, format!("{} has no name in UTF-8", path.display())))?;
    Ok(match String::from_utf8(content) {
        Ok(text) => json!({ "path": name, "content": text }),
        Err(error) => {
            let content = STANDARD.encode(error.as_bytes());
            json!({ "path": name, "content": content, "encoding": "base64" })
        }
    })
}

/// Standard input to its end, or nothing if a person sits there.
async fn standard_input() -> Result<String, Fault> {
    let reading = tokio::task::spawn_blocking(|| {
        let input = std::io::stdin();
        if input.is_terminal() { Ok(Vec::new()) } else { read_bounded(input.lock()) }
    });
    let read = reading.await.map_err(|error| Fault::new(INTERNAL, error.to_string()))?;
    let bytes =
        read.map_err(|error| Fault::new(USAGE, format!("cannot read standard input: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        Fault::new(USAGE, format!("standard input must be UTF-8: {}", error.utf8_error()))
    })
}

fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(READ_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_MAX {
        let message = format!("it is larger than {READ_MAX} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn variables(pairs: &[String]) -> Result<Map<String, Value>, Fault> {
    let mut variables = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Fault::new(USAGE, format!("`--env {pair}` must be NAME=VALUE")));
        };
        variables.insert(name.to_owned(), json!(value));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, expected: Option<&str>) {
        let language = |id: &str, alias: &str, entry: &str| Language {
            id: id.to_owned(),
            aliases: vec![alias.to_owned()],
            entry: entry.to_owned(),
        };
        let languages = [language("alpha", "al", "main.a"), language("beta", "b2", "Main.b")];
        let found = language_of(Path::new(file), &languages);
        assert_eq!(found.ok().as_deref(), expected, "{file}");
    }

    #[test]
    fn the_extension_tells_the_language() {
        check("x/y.a", Some("alpha"));
        check("y.b", Some("beta"));
        check("y.b2", Some("beta"));
        check("y.c", None);
        check("y", None);
    }

    #[test]
    fn a_source_that_is_no_text_is_sent_as_bytes() {
        let text = source(Path::new("d/x.a"), b"hello".to_vec()).unwrap();
        assert_eq!(text, json!({ "path": "x.a", "content": "hello" }));
        let bytes = source(Path::new("x.a"), vec![0xff]).unwrap();
        assert_eq!(bytes, json!({ "path": "x.a", "content": "/w==", "encoding": "base64" }));
    }

    #[test]
    fn variables_are_pairs() {
        let pairs = ["A=1=2".to_owned(), "B=".to_owned()];
        let expected = json!({ "A": "1=2", "B": "" });
        assert_eq!(Value::Object(variables(&pairs).unwrap()), expected);
        assert!(variables(&["A".to_owned()]).is_err());
        assert!(variables(&["=1".to_owned()]).is_err());
    }
}
