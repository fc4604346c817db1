//! The cache as a whole, and several of them in one directory.

mod damage;

use std::fs::{self, Permissions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// Beyond every test's entries.
const PLENTY: u64 = 1 << 30;

/// What an entry of one small file counts: its block, the manifest's, and three directories.
const SMALL: u64 = 5 * 4096;

fn start() -> SystemTime {
    // Later than anything that a test writes, so that stamps are believed.
    SystemTime::from(jiff::Timestamp::now()) + Duration::from_secs(10)
}

fn open(shared: Option<&Path>, bytes_max: u64, wall: Wall) -> (tempfile::TempDir, Cache) {
    let private = tempfile::tempdir().unwrap();
    let bounds = CacheBounds { bytes_max, age_max: 10 * HOUR };
    let rules = Rules { bounds, wall, per_caller: false };
    let places = Places { private: private.path(), shared };
    let cache = Cache::open(&places, rules, CacheMetrics::default()).unwrap();
    (private, cache)
}

fn cache() -> (tempfile::TempDir, Cache) {
    open(None, PLENTY, Wall::Jail)
}

fn key(text: &str) -> Key {
    Key::of([text.as_bytes()])
}

fn put(cache: &Cache, name: &str, content: &[u8], now: SystemTime) -> Artifact {
    let fill = |draft: &mut Draft| draft.add("a/main", &mut &*content);
    cache.put(Some(&key(name)), "said", &fill, now).unwrap()
}

fn find(cache: &Cache, name: &str, now: SystemTime) -> Option<Artifact> {
    cache.look(&cache.name(&key(name)), Effort::Read, now).ok()
}

fn program(artifact: &Artifact) -> Vec<u8> {
    fs::read(artifact.path().join("a/main")).unwrap()
}

/// The directory of an entry.
fn entry(cache: &Cache, name: &str) -> PathBuf {
    cache.path().join(cache.name(&key(name)))
}

/// Names below a directory, but for the salt.
fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|it| it != "salt").collect()
}

#[test]
fn a_result_is_found_again_by_its_key() {
    let (_keep, cache) = cache();
    let now = start();
    assert!(find(&cache, "a", now).is_none());
    put(&cache, "a", b"xxx", now);
    let artifact = find(&cache, "a", now).unwrap();
    assert_eq!((program(&artifact).as_slice(), artifact.output.as_str()), (&b"xxx"[..], "said"));
    assert!(find(&cache, "b", now).is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&artifact.path().join("a/main")), 0o555);
    assert_eq!(mode(artifact.path()), 0o755);
    assert_eq!(mode(&entry(&cache, "a")), 0o711);
    assert_eq!(mode(&entry(&cache, "a").join(MANIFEST)), 0o600);
    assert_eq!(mode(cache.path()), 0o711);
}

#[test]
fn files_come_from_memory_or_from_where_a_compiler_left_them() {
    let (_keep, cache) = cache();
    let out = tempfile::tempdir().unwrap();
    fs::create_dir(out.path().join("a")).unwrap();
    fs::write(out.path().join("a/main"), "from a file").unwrap();
    let directory = tree::open_directory(out.path()).unwrap();
    let fill = |draft: &mut Draft| {
        draft.add_tree(directory.as_fd(), None)?;
        draft.add("b/c/d", &mut &b"from memory"[..])
    };
    let artifact = cache.put(Some(&key("a")), "", &fill, start()).unwrap();
    assert_eq!(program(&artifact), b"from a file");
    assert_eq!(fs::read(artifact.path().join("b/c/d")).unwrap(), b"from memory");
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let (_keep, cache) = cache();
    let long = vec!["d"; 40].join("/");
    for path in ["", "/x", "x/", "a//b", ".", "..", "../x", "a/../../x", "a/./b", "a\0b", &long] {
        let fill = |draft: &mut Draft| draft.add(path, &mut &b"x"[..]);
        assert!(cache.put(Some(&key("a")), "", &fill, start()).is_err(), "{path:?}");
    }
    let twice = |draft: &mut Draft| {
        draft.add("a", &mut &b"x"[..])?;
        draft.add("a", &mut &b"y"[..])
    };
    assert!(cache.put(Some(&key("a")), "", &twice, start()).is_err());
    assert_eq!(names(cache.path()), Vec::<String>::new());
}

#[test]
fn more_than_a_program_is_refused() {
    let (_keep, cache) = cache();
    let many = |draft: &mut Draft| {
        (0..=draft::BOUNDS.entries).try_for_each(|it| draft.add(&it.to_string(), &mut io::empty()))
    };
    assert!(cache.put(Some(&key("a")), "", &many, start()).is_err());
    let large = |draft: &mut Draft| draft.add("a", &mut io::repeat(0));
    assert!(cache.put(Some(&key("a")), "", &large, start()).is_err());
    assert_eq!(names(cache.path()), Vec::<String>::new());
}

#[test]
fn a_link_among_the_results_refuses_them_all() {
    let (_keep, cache) = cache();
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("main"), "x").unwrap();
    symlink("/etc/passwd", out.path().join("link")).unwrap();
    let directory = tree::open_directory(out.path()).unwrap();
    let fill = |draft: &mut Draft| draft.add_tree(directory.as_fd(), None);
    assert!(cache.put(Some(&key("a")), "", &fill, start()).is_err());
}

#[test]
fn a_program_is_read_once_and_then_known_by_its_stamps() {
    let (_keep, cache) = cache();
    let now = start();
    put(&cache, "a", b"xxx", now);
    let name = cache.name(&key("a"));
    let look = |now| cache.look(&name, Effort::Look, now);
    assert!(matches!(look(now), Err(Unusable::Unread)));
    // A change may still come that the clock of the file system does not tell.
    let fresh = fs::metadata(entry(&cache, "a")).unwrap().modified().unwrap();
    assert!(cache.look(&name, Effort::Read, fresh - Duration::from_secs(10)).is_ok());
    assert!(matches!(look(now), Err(Unusable::Unread)));
    assert!(cache.look(&name, Effort::Read, now).is_ok());
    assert!(look(now).is_ok());
}

#[test]
fn what_is_too_old_is_compiled_again() {
    let (_keep, cache) = cache();
    let now = start();
    put(&cache, "a", b"xxx", now);
    assert!(find(&cache, "a", now + 10 * HOUR).is_some());
    assert!(find(&cache, "a", now + 10 * HOUR + Duration::from_secs(1)).is_none());
    put(&cache, "b", b"xxx", now);
    cache.sweep(now + 11 * HOUR);
    assert_eq!(names(cache.path()), Vec::<String>::new());
    assert_eq!(cache.ledger().bytes(), 0);
}

#[test]
fn the_least_recently_used_goes_first_but_not_under_somebody_s_feet() {
    let (_keep, cache) = open(None, 3 * SMALL, Wall::Jail);
    let at = |seconds| start() + Duration::from_secs(seconds);
    let held = put(&cache, "held", b"x", at(0));
    drop(put(&cache, "used", b"x", at(10)));
    drop(put(&cache, "unused", b"x", at(20)));
    assert!(find(&cache, "used", at(30)).is_some());
    assert_eq!(cache.ledger().bytes(), 3 * SMALL);
    drop(put(&cache, "new", b"x", at(40)));
    cache.sweep(at(40));
    let kept = ["held", "used", "unused", "new"].map(|it| entry(&cache, it).exists());
    assert_eq!(kept, [true, false, false, true], "a tenth is to be free");
    assert_eq!(cache.ledger().bytes(), 2 * SMALL);
    assert_eq!(program(&held), b"x");
}

#[test]
fn what_is_larger_than_the_cache_is_lent_and_goes() {
    let (_keep, cache) = open(None, SMALL, Wall::Jail);
    let now = start();
    let artifact = put(&cache, "a", &[b'x'; 5000], now);
    assert_eq!(program(&artifact), [b'x'; 5000]);
    assert!(find(&cache, "a", now).is_none());
    drop(artifact);
    assert_eq!(names(cache.path()), Vec::<String>::new());
}

#[test]
fn without_a_key_nothing_is_kept() {
    let shared = tempfile::tempdir().unwrap();
    for directory in [None, Some(shared.path())] {
        let (private, cache) = open(directory, PLENTY, Wall::Jail);
        let fill = |draft: &mut Draft| draft.add("a/main", &mut &b"x"[..]);
        let artifact = cache.put(None, "said", &fill, start()).unwrap();
        assert_eq!(artifact.output, "said");
        assert!(artifact.path().starts_with(private.path()));
        // As old as what a dead executor left, but held.
        cache.sweep(start() + 100 * HOUR);
        assert_eq!(program(&artifact), b"x");
        drop(artifact);
        assert_eq!(names(private.path()), Vec::<String>::new());
    }
    assert_eq!(names(shared.path()), Vec::<String>::new());
}

#[test]
fn of_two_who_make_the_same_one_takes_the_other_s() {
    let (_keep, cache) = cache();
    let now = start();
    let one = put(&cache, "a", b"xxx", now);
    let other = put(&cache, "a", b"xxx", now);
    assert_eq!(one.path(), other.path());
    assert_eq!(names(cache.path()).len(), 1);
    assert_eq!(cache.ledger().bytes(), SMALL);
}

#[test]
fn many_who_make_and_delete_the_same_at_once_all_get_it_whole() {
    let shared = tempfile::tempdir().unwrap();
    let caches: [_; 4] = std::array::from_fn(|_| open(Some(shared.path()), PLENTY, Wall::Jail));
    std::thread::scope(|scope| {
        for (index, (_, cache)) in caches.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..50 {
                    let artifact = put(cache, "a", b"xxx", start());
                    assert_eq!(program(&artifact), b"xxx");
                    if (round + index) % 3 == 0 {
                        drop(artifact);
                        cache.remove(&cache.name(&key("a")), "bytes");
                    }
                }
            });
        }
    });
    let left = names(shared.path());
    assert!(left.iter().all(|it| it.starts_with(FORMAT)) && left.len() <= 1, "{left:?}");
}

#[test]
fn executors_share_a_directory_now_and_later() {
    let shared = tempfile::tempdir().unwrap();
    let now = start();
    let (_one_keep, one) = open(Some(shared.path()), PLENTY, Wall::Jail);
    let (_two_keep, two) = open(Some(shared.path()), PLENTY, Wall::Jail);
    drop(put(&one, "a", b"xxx", now));
    let held = find(&two, "a", now).unwrap();
    one.sweep(now + 11 * HOUR);
    assert_eq!(program(&held), b"xxx", "the other one's hold counts");
    drop(held);
    drop((one, two));
    let (_three_keep, three) = open(Some(shared.path()), PLENTY, Wall::Jail);
    assert_eq!(program(&find(&three, "a", now).unwrap()), b"xxx");
    three.sweep(now);
    assert_eq!(three.ledger().bytes(), SMALL, "what others made counts");
    fs::remove_dir_all(entry(&three, "a")).unwrap();
    assert!(find(&three, "a", now).is_none(), "what others deleted is no fault");
}

#[test]
fn names_cannot_be_told_from_sources() {
    let ((_one_keep, one), (_two_keep, two)) = (cache(), cache());
    assert_ne!(one.name(&key("a")), two.name(&key("a")));
    let salt = one.path().join("salt");
    assert_eq!(fs::metadata(&salt).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn leftovers_go_after_a_while_and_other_formats_when_they_are_old() {
    let (_keep, cache) = cache();
    let now = SystemTime::from(jiff::Timestamp::now());
    for name in ["tmp-killed/program", "0-old/program", "lost+found"] {
        fs::create_dir_all(cache.path().join(name)).unwrap();
    }
    cache.sweep(now);
    assert_eq!(names(cache.path()).len(), 3);
    cache.sweep(now + 2 * HOUR);
    assert!(!cache.path().join("tmp-killed").exists());
    cache.sweep(now + 11 * HOUR);
    assert_eq!(names(cache.path()), ["lost+found"]);
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let (private, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(shared.path(), Permissions::from_mode(0o777)).unwrap();
    let bounds = CacheBounds { bytes_max: PLENTY, age_max: HOUR };
    let rules = Rules { bounds, wall: Wall::Jail, per_caller: false };
    let places = Places { private: private.path(), shared: Some(shared.path()) };
    let error = Cache::open(&places, rules, CacheMetrics::default()).unwrap_err().to_string();
    assert!(error.contains("nobody else may write"), "{error}");
}

#[tokio::test]
async fn requests_find_what_requests_left() {
    let (_keep, cache) = cache();
    let (cache, now) = (Arc::new(cache), start());
    let fill = |draft: &mut Draft| draft.add("a/main", &mut &b"x"[..]);
    assert!(cache.find(&key("a"), now).await.is_none());
    let inserted = cache.insert(Some(key("a")), "said".to_owned(), fill, now).await.unwrap();
    let found = cache.find(&key("a"), now).await.unwrap();
    assert_eq!(found.path(), inserted.path());
}
