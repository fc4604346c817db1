//! Finds the toolchains of a language on this host, once, at boot: the real programs behind
//! shims, their versions and directories, each reachable for the users of slots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::Glob;
use regex::Regex;
use sha2::{Digest as _, Sha256};

use crate::cache::Key;
use crate::mirror::{self, Mirror};
use crate::spec::ToolchainSpec;
use crate::template::Values;

/// How long a toolchain may take to tell its version.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Names the release of the system (os-release(5)).
const RELEASE: &str = "/etc/os-release";

/// Programs up to this size are told apart by their content, larger ones by size and time, in
/// bytes.
const DIGESTED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A toolchain that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Its version, as it tells it.
    pub(crate) version: String,
    /// Its directory.
    pub(crate) root: PathBuf,
    /// Its programs by placeholder.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// Further placeholders that it told.
    pub(crate) found: BTreeMap<String, String>,
    /// What tells it from another one of the same version and place.
    pub(crate) identity: String,
}

impl Toolchain {
    /// When each of its programs was put where it is, to the nanosecond.
    pub(crate) fn installed(&self) -> io::Result<Vec<u8>> {
        let mut times = Vec::new();
        for program in self.programs.values() {
            let metadata = program.metadata()?;
            times.extend(metadata.mtime().to_le_bytes());
            times.extend(metadata.mtime_nsec().to_le_bytes());
        }
        Ok(times)
    }
}

/// What a search found, and what an operator should know of it.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The toolchains, the default one first.
    pub(crate) toolchains: Vec<Toolchain>,
    /// Those that were laid out again, for as long as they are used.
    pub(crate) mirrors: Vec<Mirror>,
    /// Where that was done.
    pub(crate) notes: Vec<String>,
    /// Why candidates were passed over.
    pub(crate) passed_over: Vec<String>,
}

/// Where to search and what to do with what is out of reach.
#[derive(Debug)]
pub(crate) struct SearchPlaces {
    /// Directories with programs, the first one wins.
    pub(crate) path: Vec<PathBuf>,
    /// Where a toolchain is laid out again that the users of slots cannot reach; none if runs
    /// have our own user.
    pub(crate) mirror: Option<PathBuf>,
    /// What directories there begin with.
    pub(crate) name: String,
}

/// Searches the toolchains of `spec`.
pub(crate) fn search(spec: &ToolchainSpec, places: &SearchPlaces) -> anyhow::Result<Search> {
    let mut search = Search::default();
    let mut seen = BTreeSet::new();
    for candidate in candidates(spec, &places.path)? {
        match inspect(spec, &candidate, places, &seen) {
            Ok(Some((toolchain, mirror))) => {
                let version = &toolchain.version;
                seen.insert(version.clone());
                let note = format!(
                    "version {version} is below a private directory and was laid out again for \
                     the users of slots"
                );
                search.notes.extend(mirror.is_some().then_some(note));
                search.mirrors.extend(mirror);
                search.toolchains.push(toolchain);
            }
            Ok(None) => {}
            Err(error) => {
                let name = candidate.file_name().unwrap_or_default().to_string_lossy();
                tracing::info!(candidate = %candidate.display(), %error, "passed over a toolchain");
                search.passed_over.push(format!("`{name}` was passed over: {error}"));
            }
        }
    }
    Ok(search)
}

/// Programs that match one of the names, in the order of names and then of directories.
fn candidates(spec: &ToolchainSpec, path: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in &spec.candidates {
        if name.starts_with('/') {
            found.extend(Some(PathBuf::from(name)).filter(|it| is_program(it)));
            continue;
        }
        let matcher = Glob::new(name)?.compile_matcher();
        for directory in path {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            let mut here: Vec<PathBuf> = entries
                .flatten()
                .filter(|entry| matcher.is_match(entry.file_name()))
                .map(|entry| entry.path())
                .filter(|path| is_program(path))
                .collect();
            here.sort();
            found.extend(here);
        }
    }
    found.dedup();
    Ok(found)
}

/// What a candidate is, unless its version is one of those `seen`: the first one wins, and no other is
/// laid out.
fn inspect(
    spec: &ToolchainSpec,
    candidate: &Path,
    places: &SearchPlaces,
    seen: &BTreeSet<String>,
) -> anyhow::Result<Option<(Toolchain, Option<Mirror>)>> {
    let told = ask(spec, candidate)?;
    let version = first_group(&spec.version, &told)?
        .ok_or_else(|| anyhow::anyhow!("it does not tell its version"))?;
    check_minimum(spec, &version)?;
    if seen.contains(&version) {
        return Ok(None);
    }
    let executable = match &spec.executable {
        Some(pattern) => PathBuf::from(
            first_group(pattern, &told)?
                .ok_or_else(|| anyhow::anyhow!("it does not tell its program"))?,
        ),
        None => candidate.to_owned(),
    };
    let executable = executable.canonicalize()?;
    let root = match &spec.root {
        Some(pattern) => PathBuf::from(
            first_group(pattern, &told)?
                .ok_or_else(|| anyhow::anyhow!("it does not tell its directory"))?,
        ),
        None => executable.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned(),
    };
    let root = root.canonicalize()?;
    let (root, executable, mirror) = reachable(spec, &version, root, executable, places)?;
    let mut values = Values::default();
    values.set("root", root.to_string_lossy());
    values.set("executable", executable.to_string_lossy());
    let mut found = BTreeMap::new();
    for (name, pattern) in &spec.found {
        if let Some(value) = first_group(pattern, &told)? {
            values.set(name, &value);
            found.insert(name.clone(), value);
        }
    }
    let mut programs = BTreeMap::new();
    for (name, template) in &spec.programs {
        let program = PathBuf::from(values.fill(template)?);
        anyhow::ensure!(is_program(&program), "its program `{name}` is missing");
        programs.insert(name.clone(), program);
    }
    let identity = identity(&told, &programs)?;
    Ok(Some((Toolchain { version, root, programs, found, identity }, mirror)))
}

/// A digest of all that a toolchain tells of itself, of its programs, and of the release of the
/// system whose headers and libraries it uses.
fn identity(told: &str, programs: &BTreeMap<String, PathBuf>) -> anyhow::Result<String> {
    // A system without that file has no releases.
    let release = std::fs::read(RELEASE).unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [told.as_bytes(), &release] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    for (name, path) in programs {
        digest.update(name);
        digest.update([0]);
        let mut program = File::open(path)?;
        let (size, modified) = (program.metadata()?.len(), program.metadata()?.mtime());
        digest.update(size.to_le_bytes());
        if size <= DIGESTED_BYTES_MAX {
            io::copy(&mut program, &mut digest)?;
        } else {
            digest.update(modified.to_le_bytes());
        }
    }
    Ok(Key::of([digest.finalize().as_slice()]).as_str().to_owned())
}

/// Everything that a candidate prints when asked.
fn ask(spec: &ToolchainSpec, candidate: &Path) -> anyhow::Result<String> {
    let mut told = String::new();
    for arguments in &spec.probe {
        let output = sandbox::start_tool(candidate, arguments, PROBE_TIMEOUT)?;
        anyhow::ensure!(output.succeeded, "it fails when asked for its version");
        told.push_str(&output.text);
        told.push('\n');
    }
    Ok(told)
}

/// Whether `told` is what a toolchain of `version` tells.
pub(crate) fn tells_version(spec: &ToolchainSpec, version: &str, told: &str) -> bool {
    first_group(&spec.version, told).ok().flatten().is_some_and(|it| it == version)
}

fn first_group(pattern: &str, text: &str) -> anyhow::Result<Option<String>> {
    let found = Regex::new(pattern)?.captures(text).and_then(|it| it.get(1));
    Ok(found.map(|it| it.as_str().trim().to_owned()))
}

fn check_minimum(spec: &ToolchainSpec, version: &str) -> anyhow::Result<()> {
    let Some(minimum) = &spec.minimum else { return Ok(()) };
    let enough = crate::version::parse(version) >= crate::version::parse(minimum);
    anyhow::ensure!(enough, "version {version} is older than {minimum}");
    Ok(())
}

/// The toolchain where the users of slots can reach it: where it is, or laid out again.
fn reachable(
    spec: &ToolchainSpec,
    version: &str,
    root: PathBuf,
    executable: PathBuf,
    places: &SearchPlaces,
) -> anyhow::Result<(PathBuf, PathBuf, Option<Mirror>)> {
    let Some(mirror_dir) = &places.mirror else { return Ok((root, executable, None)) };
    // A program outside is a shim, and the language says where the real ones are.
    let inside = executable.strip_prefix(&root).map(Path::to_owned).ok();
    if is_public(&root) && (inside.is_none() || is_public(&executable)) {
        return Ok((root, executable, None));
    }
    anyhow::ensure!(!spec.mirror.is_empty(), "it is below a private directory");
    let name = format!("{}-{version}", places.name);
    let mirror = mirror::lay_out(&root, mirror_dir, &name, &spec.mirror)?;
    let executable = inside.map_or(executable, |inside| mirror.path.join(inside));
    Ok((mirror.path.clone(), executable, Some(mirror)))
}

/// Whether every user can reach `path`.
pub(crate) fn is_public(path: &Path) -> bool {
    path.ancestors().all(|it| {
        std::fs::metadata(it).is_ok_and(|metadata| {
            let needed = if metadata.is_dir() { 0o001 } else { 0o004 };
            metadata.mode() & needed == needed
        })
    })
}

/// The files and directories that match one of the patterns: absolute paths whose last part may
/// be a pattern.
pub(crate) fn matching(patterns: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pattern in patterns {
        let path = Path::new(pattern);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let matcher = Glob::new(&name.to_string_lossy())?.compile_matcher();
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        let names = entries.flatten().map(|entry| entry.file_name());
        found.extend(names.filter(|it| matcher.is_match(it)).map(|it| parent.join(it)));
    }
    Ok(found)
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_is_installed_once_more_is_told_apart() {
        let program = tempfile::NamedTempFile::new().unwrap();
        let toolchain = Toolchain {
            version: "1".to_owned(),
            root: PathBuf::from("/"),
            programs: BTreeMap::from([("cc".to_owned(), program.path().to_owned())]),
            found: BTreeMap::new(),
            identity: "same".to_owned(),
        };
        let before = toolchain.installed().unwrap();
        assert_eq!(before, toolchain.installed().unwrap());
        program.as_file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(before, toolchain.installed().unwrap());
    }
}
