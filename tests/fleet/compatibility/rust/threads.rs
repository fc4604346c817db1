//! Threads, channels, locks and barriers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread;
use std::time::Duration;

fn main() {
    let total = Arc::new(AtomicUsize::new(0));
    let map = Arc::new(RwLock::new(HashMap::new()));
    let barrier = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let (total, map, barrier) = (total.clone(), map.clone(), barrier.clone());
            thread::Builder::new().name(n.to_string()).spawn(move || {
                barrier.wait();
                total.fetch_add(n, Ordering::SeqCst);
                map.write().unwrap().insert(n, n * n);
            })
        })
        .collect();
    threads.into_iter().for_each(|it| it.unwrap().join().unwrap());

    let (sender, receiver) = mpsc::sync_channel(2);
    for n in 0..3 {
        let sender = sender.clone();
        thread::spawn(move || (0..100).for_each(|m| sender.send(n * m).unwrap()));
    }
    drop(sender);
    let sum: i32 = receiver.iter().sum();
    let (_never, nothing) = mpsc::channel::<()>();
    assert!(nothing.recv_timeout(Duration::from_millis(5)).is_err());

    let pair = (Mutex::new(false), Condvar::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            *pair.0.lock().unwrap() = true;
            pair.1.notify_all();
        });
        drop(pair.1.wait_while(pair.0.lock().unwrap(), |ready| !*ready).unwrap());
    });
    assert_eq!((total.load(Ordering::SeqCst), map.read().unwrap()[&3], sum), (6, 9, 14850));
    println!("works");
}
