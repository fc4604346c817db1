//! Properties of trees that programs made: whatever is there, nothing outside is written, read or
//! deleted. Names and plants come from one small alphabet, so that they meet often; the corpora
//! are tried in every run of the tests.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::{Bounds, RunRequest};
use serde_json::json;

use super::*;
use crate::outcome::patterns;

const SECRET: &str = "secret-5d2c";

/// Paths that tried to get out somewhere, and those next to them.
const PATHS: &[&str] = &[
    "..",
    "../outside/new",
    "a/../../outside/new",
    "/etc/passwd",
    "//etc/passwd",
    "./a",
    "a//b",
    "a/",
    "a/.",
    "a/..",
    "",
    ".",
    "a\0b",
    "a\nb",
    "\u{202e}a",
    "..a",
    "a..",
    "...",
    "a\\..\\b",
    "~/a",
    "-rf",
    "%2e%2e/a",
    "C:/a",
    "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q",
];

/// Patterns that are odd, or were costly somewhere.
const GLOBS: &[&str] = &[
    "**",
    "**/*",
    "../**",
    "/**",
    "/etc/*",
    "{a,b}/**/secret",
    "[!/]*",
    "[",
    "{{{",
    "a**b**c**d**e**f",
    "*/*/*/*/*/*/*/*",
    "\0",
    "",
];

/// What a program may leave somewhere.
#[derive(Debug, Clone)]
enum Plant {
    Link(&'static str),
    HardLink,
    Fifo,
    Socket,
    Directory,
    Closed,
    File(Vec<u8>),
}

const TARGETS: &[&str] = &[
    "../outside",
    "../../outside",
    "../outside/secret",
    "../outside/new",
    "..",
    ".",
    "/",
    "/etc/passwd",
    "/proc/self/root",
    "a",
    "b/a",
];

fn plants() -> impl Strategy<Value = Vec<(String, Plant)>> {
    let plant = prop_oneof![
        4 => proptest::sample::select(TARGETS).prop_map(Plant::Link),
        2 => Just(Plant::HardLink),
        1 => Just(Plant::Fifo),
        1 => Just(Plant::Socket),
        2 => Just(Plant::Directory),
        1 => Just(Plant::Closed),
        3 => vec(any::<u8>(), 0..64).prop_map(Plant::File),
    ];
    vec((name(), plant), 0..12)
}

/// A path that cannot leave.
fn name() -> impl Strategy<Value = String> {
    vec(proptest::sample::select(&["a", "b", "c"][..]), 1..4).prop_map(|parts| parts.join("/"))
}

/// Any path at all.
fn path() -> impl Strategy<Value = String> {
    let part = proptest::sample::select(&["a", "b", "c", "..", ".", "", "é", "a\0"][..]);
    prop_oneof![
        3 => name(),
        2 => vec(part, 1..6).prop_map(|parts| parts.join("/")),
        1 => proptest::sample::select(PATHS).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn glob() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(GLOBS).prop_map(str::to_owned),
        r"[a-c*?/{},.!\[\]-]{0,16}",
        any::<String>(),
    ]
}

/// A box, and what is beside it.
struct Scene {
    keep: tempfile::TempDir,
}

impl Scene {
    fn new(plants: &[(String, Plant)]) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let outside = keep.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(outside.join("a")).unwrap();
        std::fs::write(outside.join("secret"), SECRET).unwrap();
        std::fs::write(outside.join("a/b"), SECRET).unwrap();
        rustix::fs::chmod(outside.join("secret"), Mode::RUSR | Mode::RGRP).unwrap();
        std::fs::create_dir(keep.path().join("box")).unwrap();
        let scene = Self { keep };
        for (name, plant) in plants {
            // What is in the way of another plant stays.
            scene.plant(name, plant).unwrap_or_default();
        }
        scene
    }

    fn plant(&self, name: &str, plant: &Plant) -> io::Result<()> {
        let inside = self.inside();
        let place = inside.join(name);
        let parent = place.parent().unwrap();
        std::fs::create_dir_all(parent)?;
        // A program cannot follow its own links out of the box; we must not either.
        if !parent.canonicalize()?.starts_with(inside.canonicalize()?) {
            return Ok(());
        }
        match plant {
            Plant::Link(target) => symlink(target, place),
            Plant::HardLink => std::fs::hard_link(self.outside().join("secret"), place),
            Plant::Fifo => {
                let cwd = rustix::fs::CWD;
                Ok(rustix::fs::mknodat(cwd, place, FileType::Fifo, Mode::RWXU, 0)?)
            }
            Plant::Socket => UnixListener::bind(place).map(drop),
            Plant::Directory => std::fs::create_dir(place),
            Plant::Closed => {
                std::fs::create_dir(&place)?;
                Ok(rustix::fs::chmod(place, Mode::empty())?)
            }
            Plant::File(content) if place.symlink_metadata().is_err() => {
                std::fs::write(place, content)
            }
            Plant::File(_) => Ok(()),
        }
    }

    fn inside(&self) -> PathBuf {
        self.keep.path().join("box")
    }

    fn outside(&self) -> PathBuf {
        self.keep.path().join("outside")
    }

    /// Everything beside the box: modes, owners, sizes, contents.
    fn surroundings(&self) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.keep.path().to_owned()];
        while let Some(place) = waiting.pop() {
            let meta = place.symlink_metadata().unwrap();
            let content = if meta.is_file() { std::fs::read(&place).unwrap() } else { Vec::new() };
            if meta.is_dir() && place != self.inside() {
                waiting.extend(std::fs::read_dir(&place).unwrap().map(|it| it.unwrap().path()));
            }
            if place != self.inside() {
                found.insert(place, (meta.mode(), meta.uid(), content));
            }
        }
        found
    }
}

/// The path as the parser of requests lets it through, if it does.
fn accepted(path: &str) -> Option<String> {
    let body = json!({"files": [{"path": path, "content": ""}]}).to_string();
    let request = RunRequest::parse(body.as_bytes(), &Bounds::default()).ok()?;
    request.sources.into_iter().next().map(|it| it.path)
}

fn check_writes(plants: &[(String, Plant)], paths: &[String]) {
    let scene = Scene::new(plants);
    let before = scene.surroundings();
    let root = open_directory(&scene.inside()).unwrap();
    for path in paths.iter().filter_map(|it| accepted(it)) {
        let written = write_file(root.as_fd(), &path, b"written", None);
        if written.is_ok() {
            let place = scene.inside().join(&path);
            assert!(place.symlink_metadata().unwrap().is_file(), "{path}");
            assert_eq!(std::fs::read(&place).unwrap(), b"written", "{path}");
            let real = place.canonicalize().unwrap();
            assert!(real.starts_with(scene.inside().canonicalize().unwrap()), "{path}");
        }
    }
    assert_eq!(scene.surroundings(), before, "something outside was changed");
}

fn check_reads(plants: &[(String, Plant)], globs: &[String], bounds: WalkBounds) {
    let scene = Scene::new(plants);
    let before = scene.surroundings();
    let patterns = patterns(globs).unwrap_or_default();
    let root = open_directory(&scene.inside()).unwrap();
    let (mut visited, mut bytes) = (0, 0);
    walk(root.as_fd(), None, bounds, &mut |found| {
        visited += 1;
        bytes += found.size;
        let read = read_file(&found.file, found.size)?;
        assert!(read.len() as u64 <= found.size);
        assert!(!String::from_utf8_lossy(&read).contains(SECRET), "{} is of outside", found.path);
        let parts: Vec<&str> = found.path.split('/').collect();
        assert!(parts.len() <= bounds.depth + 1, "{} is too deep", found.path);
        assert!(parts.iter().all(|it| !["", ".", ".."].contains(it)), "{}", found.path);
        let meta = scene.inside().join(&found.path).symlink_metadata()?;
        assert!(meta.is_file() && meta.nlink() == 1, "{}", found.path);
        // Whether it is asked for or not is answered for any pattern.
        drop(patterns.matches(&found.path));
        Ok(())
    })
    .unwrap();
    assert!(visited <= bounds.entries && bytes <= bounds.bytes);
    assert_eq!(scene.surroundings(), before, "something outside was changed");
}

fn check_take_over_and_erase(plants: &[(String, Plant)]) {
    let scene = Scene::new(plants);
    let before = scene.surroundings();
    let root = open_directory(&scene.inside()).unwrap();
    // It may refuse what no compiler makes.
    take_over(root.as_fd(), 8).unwrap_or_default();
    assert_eq!(scene.surroundings(), before, "something outside was taken over");
    let parent = open_directory(scene.keep.path()).unwrap();
    erase(parent.as_fd(), "box").unwrap();
    assert!(scene.inside().symlink_metadata().is_err(), "something is left");
    assert_eq!(scene.surroundings(), before, "something outside was deleted");
}

const WIDE: WalkBounds = WalkBounds { entries: 1000, depth: 32, bytes: 1 << 20 };

/// One of each, and links in the way of everything.
fn corpus() -> Vec<Vec<(String, Plant)>> {
    let named = |name: &str, plant: Plant| (name.to_owned(), plant);
    let links = TARGETS
        .iter()
        .map(|target| vec![named("a", Plant::Link(target)), named("b/a", Plant::Link(target))]);
    let others = vec![
        named("a", Plant::HardLink),
        named("b", Plant::Fifo),
        named("c/a", Plant::Socket),
        named("c/b", Plant::Closed),
        named("c/c", Plant::File(b"own".to_vec())),
    ];
    links.chain([others]).collect()
}

#[test]
fn the_corpus_stays_inside() {
    let own = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let mut paths = own(PATHS);
    paths.extend(own(&["a", "a/b", "a/secret", "a/new", "b", "b/a", "b/a/b", "c/a", "c/b/a"]));
    for plants in corpus() {
        check_writes(&plants, &paths);
        check_take_over_and_erase(&plants);
        for glob in GLOBS {
            check_reads(&plants, &own(&[glob]), WIDE);
        }
    }
}

proptest! {
    #[test]
    fn writing_never_leaves_the_directory(plants in plants(), paths in vec(path(), 1..8)) {
        check_writes(&plants, &paths);
    }

    #[test]
    fn reading_never_leaves_the_directory_and_keeps_its_bounds(
        plants in plants(),
        globs in vec(glob(), 0..4),
        entries in 0_usize..20,
        depth in 0_usize..4,
        bytes in 0_u64..200,
    ) {
        check_reads(&plants, &globs, WalkBounds { entries, depth, bytes });
        check_reads(&plants, &globs, WIDE);
    }

    #[test]
    fn taking_over_and_erasing_never_leave_the_directory(plants in plants()) {
        check_take_over_and_erase(&plants);
    }
}
