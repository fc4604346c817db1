//! What a program can do to its executor, by the first argument.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, io, process, thread};

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
    fn signal(number: i32, action: usize) -> usize;
}

fn input() -> Vec<u8> {
    let mut read = Vec::new();
    io::stdin().read_to_end(&mut read).unwrap();
    read
}

fn write() {
    fs::create_dir("out").unwrap();
    fs::write("out/a.txt", "größe\n").unwrap();
    fs::write("out/b.bin", [0xff, 0, 1]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", "out/link.txt").unwrap();
    let _ = fs::hard_link("/etc/passwd", "out/hard.txt");
    assert!(Command::new("mkfifo").arg("out/fifo.txt").status().unwrap().success());
    println!("written");
}

fn main() {
    let rest: Vec<String> = env::args().skip(2).collect();
    let mut out = io::stdout();
    match env::args().nth(1).unwrap().as_str() {
        "count" => println!("{}", input().len()),
        "echo" => out.write_all(&input()).unwrap(),
        "nothing" => println!("ok"),
        "exit" => process::exit(rest[0].parse().unwrap()),
        "signal" => {
            let number = rest[0].parse().unwrap();
            unsafe {
                signal(number, 0);
                kill(process::id() as i32, number);
            }
            thread::sleep(Duration::from_secs(60));
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "sleep" => {
            println!("asleep");
            thread::sleep(Duration::from_secs_f64(rest[0].parse().unwrap()));
            println!("awake");
        }
        "hog" => {
            let held: Vec<Vec<u8>> = (0..2048).map(|_| vec![1; 1 << 20]).collect();
            println!("survived {}", held.len());
        }
        "giant" => println!("survived {}", std::hint::black_box(vec![1_u8; 3 << 30]).len()),
        "print" => {
            let line = format!("{}\n", "x".repeat(1023));
            for _ in 0..rest[0].parse::<usize>().unwrap() / 1024 {
                out.write_all(line.as_bytes()).unwrap();
            }
        }
        "bytes" => {
            out.write_all(b"\xff\xfe\x00\x41\x00\xc3\x28\xf0\x9f\x98\x80\x0a").unwrap();
        }
        "env" => {
            for name in &rest {
                println!("{}", env::var(name).unwrap_or("(unset)".to_owned()));
            }
        }
        "args" => rest.iter().for_each(|it| println!("[{it}]")),
        "write" => write(),
        "hold" => {
            let script = "setsid sleep 300 & (sleep 300 &)";
            assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
            println!("done");
        }
        "flush" => {
            println!("first");
            thread::sleep(Duration::from_secs(2));
            println!("second");
            eprintln!("problem");
        }
        other => panic!("{other}"),
    }
}
