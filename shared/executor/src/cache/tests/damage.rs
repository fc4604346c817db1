//! What was put into the cache comes out as it was, or not at all.

use super::*;

/// What happens to an entry between two reads, given its directory and its program's file.
type Harm = fn(&Path, &Path);

/// As somebody would who may: the sealed file is opened up first.
fn overwrite(path: &Path, content: &[u8]) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
}

const HARMS: [(&str, Harm); 13] = [
    ("another content of the same length", |_, file| overwrite(file, b"yyy")),
    ("a shorter file", |_, file| overwrite(file, b"")),
    ("a longer file", |_, file| overwrite(file, b"xxxx")),
    ("another file in its place", |_, file| {
        fs::remove_file(file).unwrap();
        fs::write(file, "yyy").unwrap();
    }),
    ("a missing file", |_, file| fs::remove_file(file).unwrap()),
    ("a file more", |_, file| fs::write(file.with_file_name("more"), "").unwrap()),
    ("a link instead of a file", |_, file| {
        fs::remove_file(file).unwrap();
        symlink("/bin/true", file).unwrap();
    }),
    ("a second name", |entry, file| {
        fs::hard_link(file, entry.with_file_name("tmp-second")).unwrap();
    }),
    ("a file that others may write", |_, file| {
        fs::set_permissions(file, Permissions::from_mode(0o577)).unwrap();
    }),
    ("a directory that others may write", |_, file| {
        fs::set_permissions(file.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
    }),
    ("a manifest that others may read", |entry, _| {
        fs::set_permissions(entry.join(MANIFEST), Permissions::from_mode(0o644)).unwrap();
    }),
    ("half a manifest", |entry, _| {
        let manifest = fs::OpenOptions::new().write(true).open(entry.join(MANIFEST)).unwrap();
        manifest.set_len(80).unwrap();
    }),
    ("no manifest", |entry, _| fs::remove_file(entry.join(MANIFEST)).unwrap()),
];

/// Lets the clock of the file system go on from what was made last: where it is coarse, a change
/// right after would bear the same time, and `start` pretends that all was long ago.
fn tick(made: &Path) {
    let scratch = tempfile::tempfile_in(made.parent().unwrap()).unwrap();
    let made = Stamp::of(&File::open(made).unwrap()).unwrap().changed();
    while Stamp::of(&scratch).unwrap().changed() <= made {
        scratch.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
}

#[test]
fn whatever_is_done_to_an_entry_is_found_and_it_goes() {
    for wall in [Wall::Jail, Wall::Nobody] {
        for (what, harm) in HARMS {
            let (_keep, cache) = open(None, PLENTY, wall);
            let now = start();
            put(&cache, "a", b"xxx", now);
            // Read once, so that stamps are known, and not read again for them.
            assert!(find(&cache, "a", now).is_some());
            let file = entry(&cache, "a").join("program/a/main");
            tick(&entry(&cache, "a"));
            harm(&entry(&cache, "a"), &file);
            assert!(find(&cache, "a", now).is_none(), "{what} is not found");
            assert!(!entry(&cache, "a").exists(), "{what} stays");
            assert_eq!(program(&put(&cache, "a", b"xxx", now)), b"xxx");
            assert!(find(&cache, "a", now).is_some(), "{what} is not mended");
        }
    }
}

#[test]
fn an_entry_of_another_user_is_not_used() {
    if !sandbox::is_root() {
        return;
    }
    let owners: [fn(&Path) -> PathBuf; 4] = [
        Path::to_owned,
        |entry| entry.join(MANIFEST),
        |entry| entry.join(PROGRAM),
        |entry| entry.join("program/a/main"),
    ];
    for path in owners {
        let (_keep, cache) = cache();
        let now = start();
        put(&cache, "a", b"xxx", now);
        std::os::unix::fs::lchown(path(&entry(&cache, "a")), Some(12345), None).unwrap();
        assert!(find(&cache, "a", now).is_none());
        assert!(!entry(&cache, "a").exists());
    }
}

#[test]
fn an_entry_under_the_name_of_another_is_not_used() {
    let (_keep, cache) = cache();
    let now = start();
    put(&cache, "a", b"xxx", now);
    fs::rename(entry(&cache, "a"), entry(&cache, "b")).unwrap();
    assert!(find(&cache, "b", now).is_none());
    assert!(!entry(&cache, "b").exists());
}

#[test]
fn without_a_wall_only_what_is_remembered_is_believed() {
    let (_keep, cache) = open(None, PLENTY, Wall::Nobody);
    let now = start();
    put(&cache, "a", b"xxx", now);
    // All of it, made by somebody who knows how.
    let fill = |draft: &mut Draft| draft.add("a/main", &mut &b"yyy"[..]);
    let mut forged = Draft::new(&cache.kept).unwrap();
    fill(&mut forged).unwrap();
    let name = cache.name(&key("a"));
    drop(forged.seal(&name, "said", now).unwrap());
    forged.take();
    cache.kept.remove(&name).unwrap();
    cache.kept.rename(&forged.name, &name).unwrap();
    assert!(find(&cache, "a", now).is_none());
}
