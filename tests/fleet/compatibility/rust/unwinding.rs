//! Panics that are caught, in threads too.

use std::panic::{self, AssertUnwindSafe};
use std::thread;

struct Told<'a>(&'a mut bool);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        *self.0 = true;
    }
}

fn main() {
    panic::set_hook(Box::new(|_| {}));
    let mut dropped = false;
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        let _told = Told(&mut dropped);
        let none: Vec<i32> = Vec::new();
        none[dropped_index()]
    }));
    assert!(caught.is_err() && dropped);
    let joined = thread::spawn(|| panic!("in a thread")).join();
    assert_eq!(joined.unwrap_err().downcast_ref::<&str>(), Some(&"in a thread"));
    let resumed = panic::catch_unwind(|| panic::resume_unwind(Box::new(7)));
    assert_eq!(resumed.unwrap_err().downcast_ref::<i32>(), Some(&7));
    println!("works");
}

fn dropped_index() -> usize {
    3
}
