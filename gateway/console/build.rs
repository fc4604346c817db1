//! Builds the page, and writes down what came out as `assets.rs` for `src/lib.rs` to include.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `CONSOLE=off` | builds a page that says how to get the real one; for editors and quick checks |
//! | `CONSOLE=require` | makes it an error if the real one cannot be built; for CI |
//! | `CONSOLE_DIST=FOLDER` | takes what somebody else built (`npm run build`); for containers |
//!
//! Without Node or npm, and without the network for a first `npm ci`, the first of these happens by
//! itself, with a warning.
#![expect(
    clippy::disallowed_methods,
    reason = "a build step is told by variables, starts programs, and speaks to cargo by printing"
)]

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

/// What the page is made of.
const INPUTS: &[&str] = &[
    "build.rs",
    "page",
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
];
/// The oldest Node that Vite runs on.
const OLDEST: (u32, u32) = (20, 19);
/// Which packages are installed: the lock's digest, and whether those for tests are among them.
const STAMP: &str = "node_modules/.installed";
const STUB: &str = include_str!("stub.html");

fn main() -> Result<()> {
    for input in INPUTS.iter().chain(&["stub.html"]) {
        println!("cargo:rerun-if-changed={input}");
    }
    for variable in ["CONSOLE", "CONSOLE_DIST"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let dist = out.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir_all(&dist)?;
    let mode = env::var("CONSOLE").unwrap_or_default();
    match (env::var_os("CONSOLE_DIST"), mode.as_str()) {
        (Some(folder), _) => copy(Path::new(&folder), &dist)?,
        (None, "off") => fs::write(dist.join("index.html"), STUB)?,
        (None, "" | "require") => match tools() {
            Ok(tools) => build(&tools, &dist, mode == "require")?,
            Err(why) if mode == "require" => return Err(why),
            Err(why) => give_up(&dist, &why)?,
        },
        (None, other) => bail!("CONSOLE is `{other}`; it may be `off` or `require`"),
    }
    fs::write(out.join("assets.rs"), assets(&dist)?)?;
    Ok(())
}

/// Leaves a page that says what is missing, and lets cargo ask again next time.
fn give_up(dist: &Path, why: &anyhow::Error) -> Result<()> {
    let why = format!("{why:#}").replace('\n', " ");
    println!("cargo:warning=the console is not built: {why}");
    println!("cargo:rerun-if-changed=what-is-missing-may-be-there-next-time");
    fs::write(dist.join("index.html"), STUB)?;
    Ok(())
}

fn build(tools: &Tools, dist: &Path, is_required: bool) -> Result<()> {
    // Two builds at once would take each other's packages away.
    let lock = File::create(".npm.lock").context("cannot write to gateway/console")?;
    lock.lock()?;
    if let Err(why) = install(tools) {
        if is_required {
            return Err(why);
        }
        return give_up(dist, &why);
    }
    let mut command = tools.npm();
    command.args(["run", "build", "--", "--logLevel", "warn", "--outDir"]).arg(dist);
    run(command, "vite build")
}

/// Brings the packages, unless those of the lock are there.
fn install(tools: &Tools) -> Result<()> {
    let lock = fs::read("package-lock.json")?;
    let digest = hexadecimal(&lock);
    let stamp = fs::read_to_string(STAMP).unwrap_or_default();
    if stamp.starts_with(&digest) {
        return Ok(());
    }
    let mut command = tools.npm();
    command.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(command, "npm ci")?;
    fs::write(STAMP, digest)?;
    Ok(())
}

fn run(mut command: Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("{what} does not start"))?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    ensure!(output.status.success(), "{what} failed in gateway/console:\n{told}");
    Ok(())
}

/// Where npm and what it runs on are.
struct Tools {
    path: OsString,
}

impl Tools {
    fn npm(&self) -> Command {
        let mut command = Command::new("npm");
        command.env("PATH", &self.path);
        command
    }

    /// The version that npm runs on, if there is an npm.
    fn version(&self) -> Option<String> {
        let output = self.npm().args(["version", "--json"]).output().ok()?;
        let told = String::from_utf8_lossy(&output.stdout);
        let (_, version) = told.split_once("\"node\": \"")?;
        version.split('"').next().map(str::to_owned)
    }
}

/// Those on the path, or with what `gateway/console/install` brought before them.
fn tools() -> Result<Tools> {
    let path = env::var_os("PATH").unwrap_or_default();
    let own = env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let brought = Path::new(&own).join("../../.toolchains/console/path");
    let with_brought = std::iter::once(brought).chain(env::split_paths(&path));
    let mut found = String::from("there is no npm");
    for path in [path.clone(), env::join_paths(with_brought)?] {
        let tools = Tools { path };
        let Some(version) = tools.version() else { continue };
        if is_new_enough(&version) {
            return Ok(tools);
        }
        found = format!("npm runs on {version}");
    }
    let (major, minor) = OLDEST;
    bail!(
        "it takes Node {major}.{minor} or newer with npm, and {found}; see gateway/console/install"
    )
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|it| it.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= OLDEST
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    println!("cargo:rerun-if-changed={}", from.display());
    ensure!(from.join("index.html").exists(), "there is no index.html in {}", from.display());
    for path in files(from)? {
        let target = to.join(&path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from.join(&path), target)?;
    }
    Ok(())
}

/// The text of a slice of assets, by path.
fn assets(dist: &Path) -> Result<String> {
    let mut paths = files(dist)?;
    paths.sort();
    let mut text = String::from("&[\n");
    for path in paths.iter().filter(|it| !is_packed(it)) {
        let include = |suffix: &str| {
            let is_there = paths.contains(&format!("{path}{suffix}"));
            is_there.then(|| {
                format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/dist/{path}{suffix}\"))")
            })
        };
        let compressed =
            |suffix| include(suffix).map_or("None".to_owned(), |it| format!("Some({it})"));
        writeln!(
            text,
            "Asset {{ path: {path:?}, content_type: {:?}, is_immutable: {}, digest: {:?}, plain: \
             {}, brotli: {}, gzip: {} }},",
            content_type(path)?,
            path.starts_with("assets/"),
            hexadecimal(&fs::read(dist.join(path))?).get(..20).unwrap_or_default(),
            include("").unwrap_or_default(),
            compressed(".br"),
            compressed(".gz"),
        )?;
    }
    text.push_str("]\n");
    Ok(text)
}

fn content_type(path: &str) -> Result<&'static str> {
    Ok(match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        _ => bail!("{path}: its content type is not known here"),
    })
}

/// The files below a folder, relative to it.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        for entry in fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                left.push(path);
            } else {
                found.push(path.into_os_string().into_string().ok().context("a name is no text")?);
            }
        }
    }
    Ok(found)
}

fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it is another file, smaller.
fn is_packed(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|it| it == "br" || it == "gz")
}
