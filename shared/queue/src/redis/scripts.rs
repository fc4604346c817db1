//! What runs on the server: for each operation a file, and before it what all of them share.

use std::sync::LazyLock;

use redis::Script;

/// Flags: `no-writes` runs also where nothing can be written; `allow-oom` also when the memory is
/// full. That is for what gives room back, or only changes what is there; whatever keeps more is
/// refused then before it begins. A script that has begun always comes to its end.
macro_rules! operations {
    ($($name:ident: $flags:literal $($file:literal)+;)*) => {
        $(
            pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new(concat!(
                    "#!lua", $flags, "\n", include_str!("common.lua"), $(include_str!($file)),+
                ))
            });
        )*
    };
}

operations! {
    OPEN: "" "grace.lua" "open.lua";
    MIGRATE: " flags=allow-oom" "migrate.lua";
    ENQUEUE: "" "enqueue.lua";
    CLAIM: "" "steady.lua" "claim.lua";
    EXTEND: " flags=allow-oom" "steady.lua" "extend.lua";
    COMPLETE: "" "complete.lua";
    FAIL: " flags=allow-oom" "steady.lua" "fail.lua";
    RELEASE: " flags=allow-oom" "release.lua";
    ABANDON: " flags=allow-oom" "abandon.lua";
    CANCEL: " flags=allow-oom" "cancel.lua";
    SWEEP: " flags=allow-oom" "steady.lua" "grace.lua" "sweep.lua";
    ROOM: "" "room.lua";
    REDRIVE: "" "redrive.lua";
    PURGE: " flags=allow-oom" "purge.lua";
    HELD: " flags=no-writes" "held.lua";
    JOB: " flags=no-writes" "job.lua";
    VERSIONS: " flags=no-writes" "versions.lua";
    BODY: " flags=no-writes" "body.lua";
    RESULT: " flags=no-writes" "result.lua";
    ATTEMPTS: " flags=no-writes" "attempts.lua";
    LIST: " flags=no-writes" "list.lua";
    COUNTS: " flags=no-writes" "counts.lua";
    STATS: " flags=no-writes" "stats.lua";
    DUE_CALLBACKS: " flags=allow-oom" "keep.lua" "due_callbacks.lua";
    NOTE_CALLBACK: " flags=allow-oom" "keep.lua" "note_callback.lua";
    CALLBACKS: " flags=no-writes" "callbacks.lua";
    NOTE_WORKERS: "" "note_workers.lua";
    NOTED_WORKERS: " flags=no-writes" "noted_workers.lua";
    ORDER_WORKER: "" "order_worker.lua";
    FORGET_WORKER: " flags=allow-oom" "forget_worker.lua";
}
