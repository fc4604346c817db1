//! Files: made, moved, linked, sought, measured and removed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Result, Seek, SeekFrom, Write};

fn main() -> Result<()> {
    fs::create_dir_all("a/b")?;
    fs::write("a/b/c", "one\ntwo\n")?;
    fs::copy("a/b/c", "copy")?;
    fs::rename("a/b/c", "a/moved")?;
    std::os::unix::fs::symlink("copy", "link")?;
    let mut file = OpenOptions::new().read(true).write(true).open("link")?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(b"three\n")?;
    file.sync_all()?;
    let lines = BufReader::new(File::open("copy")?).lines().collect::<Result<Vec<_>>>()?;
    let temporary = std::env::temp_dir().join("file");
    File::create(&temporary)?.set_len(1 << 20)?;
    assert_eq!(fs::metadata(&temporary)?.len(), 1 << 20);
    assert_eq!((lines.len(), fs::read_dir("a")?.count()), (3, 2));
    fs::remove_dir_all("a")?;
    println!("works");
    Ok(())
}
