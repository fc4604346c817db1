//! Pure: versions of runtimes, and which of them a request means.

use semver::{Version, VersionReq};

/// A runtime's version as three numbers; what is missing or no number is 0.
pub(crate) fn parse(text: &str) -> Version {
    let mut numbers = text
        .split(|it: char| !it.is_ascii_digit())
        .filter(|it| !it.is_empty())
        .map(|it| it.parse::<u64>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    Version::new(next(), next(), next())
}

/// The first of `versions` that `wanted` means: as it is, as a prefix of whole numbers (`3.1`
/// means 3.1.4, not 3.11), or as a semver range (`>=3.10`).
pub(crate) fn choose<'a>(
    wanted: &str,
    versions: impl Iterator<Item = &'a str> + Clone,
) -> Option<usize> {
    let is_prefix = |version: &str| {
        version
            .strip_prefix(wanted)
            .is_some_and(|rest| !rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    let mut indexed = versions.clone().enumerate();
    if let Some((index, _)) = indexed.find(|(_, version)| is_prefix(version)) {
        return Some(index);
    }
    let starts_like_a_number = wanted.starts_with(|it: char| it.is_ascii_digit());
    let range = VersionReq::parse(wanted).ok().filter(|_| !starts_like_a_number)?;
    versions.enumerate().find(|(_, version)| range.matches(&parse(version))).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, expected: Option<usize>) {
        let versions = ["3.11.2", "3.1.4", "1.27"];
        assert_eq!(choose(wanted, versions.into_iter()), expected);
    }

    #[test]
    fn a_version_is_meant_by_itself_a_prefix_or_a_range() {
        check("3.11.2", Some(0));
        check("3.1", Some(1));
        check("3", Some(0));
        check("1.27", Some(2));
        check(">=3.12", None);
        check("<2", Some(2));
        check("^3.1.0", Some(0));
        check("~3.1.2", Some(1));
        check("2", None);
        check("nonsense", None);
    }

    #[test]
    fn odd_versions_still_compare() {
        assert!(parse("go1.27.3") > parse("1.21"));
        assert!(parse("17.0.15+6") >= parse("17"));
    }
}
