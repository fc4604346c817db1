//! The gateway's page, as files that its own build step made: `build.rs` builds `page/` with the
//! packages that `package-lock.json` pins, and what comes out is part of this library.

/// One file of the page.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its path below the root, without the slash, such as `index.html`.
    pub path: &'static str,
    /// What it is.
    pub content_type: &'static str,
    /// Whether its name tells its content, so that it may be kept for ever.
    pub is_immutable: bool,
    /// Digits that tell its content.
    pub digest: &'static str,
    /// Its bytes.
    pub plain: &'static [u8],
    /// The same, compressed with Brotli, where that is less.
    pub brotli: Option<&'static [u8]>,
    /// The same, compressed with gzip, where that is less.
    pub gzip: Option<&'static [u8]>,
}

/// Every file of the page, by path. The page itself is `index.html`, which is always there.
pub static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at a path.
pub fn find(path: &str) -> Option<&'static Asset> {
    let index = ASSETS.binary_search_by(|it| it.path.cmp(path)).ok()?;
    ASSETS.get(index)
}

/// Whether all of the page is here, and not only what says how to build it.
pub fn is_whole() -> bool {
    ASSETS.len() > 1
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};
    use std::time::SystemTime;

    use super::*;

    const STUB: &str = include_str!("../stub.html");
    /// Bytes that a browser has to load before it shows anything, compressed.
    const FIRST_LOAD_MAX: usize = 150 << 10;

    #[test]
    fn the_page_is_there_and_its_paths_are_in_order() {
        assert!(find("index.html").is_some_and(|it| !it.is_immutable));
        assert!(ASSETS.windows(2).all(|it| it[0].path < it[1].path));
        assert!(find("nothing").is_none());
    }

    #[test]
    fn what_a_name_tells_is_compressed_and_kept() {
        for asset in ASSETS.iter().filter(|it| it.path.starts_with("assets/")) {
            assert!(asset.is_immutable, "{}", asset.path);
            let is_large = asset.plain.len() > 2048;
            assert!(!is_large || asset.brotli.is_some(), "{}", asset.path);
        }
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_nothing_inline() {
        let page = String::from_utf8_lossy(find("index.html").unwrap().plain);
        assert!(!page.contains("//") || !is_whole(), "{page}");
        assert_eq!(page.matches("<script").count(), page.matches(" src=\"/assets/").count());
        for inline in ["<style", "style=", " onclick", " onload", "javascript:"] {
            assert!(!page.contains(inline) || !is_whole(), "{inline}");
        }
    }

    /// The build step, as cargo compiled it beside what it made.
    fn build_step() -> PathBuf {
        let built = Path::new(env!("OUT_DIR")).ancestors().nth(2).unwrap();
        let folders = built.read_dir().unwrap().map(|it| it.unwrap().path());
        let own = folders.filter(|it| {
            it.file_name().is_some_and(|it| it.to_string_lossy().starts_with("console-"))
        });
        let steps = own.map(|it| it.join("build-script-build"));
        let changed = |it: &PathBuf| it.metadata().and_then(|it| it.modified());
        let newest = steps.max_by_key(|it| changed(it).unwrap_or(SystemTime::UNIX_EPOCH));
        newest.unwrap()
    }

    /// Builds the page where there is no npm, into a folder.
    #[expect(clippy::disallowed_methods, reason = "it is a program that cargo starts")]
    fn build_without_npm(mode: &str, place: &Path) -> Output {
        let mut step = Command::new(build_step());
        step.current_dir(place).env("CARGO_MANIFEST_DIR", place).env("PATH", place);
        step.env("OUT_DIR", place).env("CONSOLE", mode).env_remove("CONSOLE_DIST");
        step.output().unwrap()
    }

    /// What the build step says where there is no npm, if it makes the page that tells so.
    #[track_caller]
    fn check_stub(mode: &str) -> String {
        let place = tempfile::tempdir().unwrap();
        let Output { status, stdout, stderr } = build_without_npm(mode, place.path());
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let page = std::fs::read_to_string(place.path().join("dist/index.html")).unwrap();
        assert_eq!(page, STUB);
        let assets = std::fs::read_to_string(place.path().join("assets.rs")).unwrap();
        assert_eq!(assets.matches("Asset {").count(), 1, "{assets}");
        String::from_utf8(stdout).unwrap()
    }

    #[test]
    fn without_npm_there_is_a_page_that_says_how_to_get_the_other() {
        let told = check_stub("");
        let why = "cargo:warning=the console is not built: it takes Node";
        assert!(told.contains(why) && told.contains("there is no npm"), "{told}");
        assert!(!check_stub("off").contains("cargo:warning"), "it was asked for");
        assert!(STUB.contains("gateway/console/install") && STUB.contains("CONSOLE=off"));
    }

    #[test]
    fn a_page_that_is_required_or_unknown_is_not_left_out() {
        let place = tempfile::tempdir().unwrap();
        for (mode, why) in [("require", "there is no npm"), ("never", "CONSOLE is `never`")] {
            let Output { status, stderr, .. } = build_without_npm(mode, place.path());
            let told = String::from_utf8_lossy(&stderr);
            assert!(!status.success() && told.contains(why), "{told}");
        }
    }

    #[test]
    fn the_first_load_is_small() {
        let page = String::from_utf8_lossy(find("index.html").unwrap().plain);
        let named = page.split('"').filter_map(|it| it.strip_prefix('/')).filter_map(find);
        let size = |it: &Asset| it.brotli.unwrap_or(it.plain).len();
        let bytes: usize = named.map(size).sum();
        assert!(bytes < FIRST_LOAD_MAX, "{bytes}");
    }
}
