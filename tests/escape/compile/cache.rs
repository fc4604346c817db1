//! A cached program is what its own sources, options and compiler made, whatever came before.

use futures::FutureExt as _;
use serde_json::{Value, json};

use crate::ground::Ground;
use crate::table::{Scenario, Table};

const STEP: &str = "the compile cache (its key is all that a result depends on)";

pub(crate) static TABLE: Table = Table {
    promise: "a cached program is that of its sources",
    against: &[],
    attacks: &[],
    scenarios: &[
        Scenario {
            name: "have one program's cached result serve another of the same bytes",
            stopped_by: STEP,
            against: &[],
            play: |ground| boundaries(ground).boxed_local(),
        },
        Scenario {
            name: "have a cached result serve other options",
            stopped_by: STEP,
            against: &[],
            play: |ground| options(ground).boxed_local(),
        },
        Scenario {
            name: "leave a failed compile's remains to the next one",
            stopped_by: "the executor (only what succeeded is cached, from a directory of its own)",
            against: &[],
            play: |ground| remains(ground).boxed_local(),
        },
        Scenario {
            name: "read a cached program of others by its name",
            stopped_by: "Landlock (files)",
            against: &[crate::promise::FILES],
            play: |ground| by_name(ground).boxed_local(),
        },
    ],
};

/// Compiles and runs files, and says what is wrong if something else was printed.
async fn expect(ground: &Ground, language: &str, request: Value, printed: &str) -> Option<String> {
    let answer = ground.send(language, &request.to_string()).await;
    (answer["output"] != printed).then(|| format!("`{printed}` became {answer}"))
}

async fn boundaries(ground: &mut Ground) -> Vec<String> {
    const MAIN: &str =
        "#include <cstdio>\n#include \"a.h\"\n#include \"b.h\"\nint main() { std::puts(A B); }\n";
    let request = |a: &str, b: &str| {
        json!({ "files": [
            { "path": "main.cpp", "content": MAIN },
            { "path": "a.h", "content": a },
            { "path": "b.h", "content": b },
        ] })
    };
    let (one, two) = ("#define A \"1\"\n", "#define B \"2\"\n");
    let other = "#define A \"3\"\n";
    let mut faults = Vec::new();
    for (a, b, printed) in [
        (one, two, "12\n"),
        (other, two, "32\n"),
        ("#define A \"1\"\n#define B \"2\"\n", "", "12\n"),
        ("", "#define A \"1\"\n#define B \"5\"\n", "15\n"),
        (one, two, "12\n"),
    ] {
        faults.extend(expect(ground, "cpp", request(a, b), printed).await);
    }
    // The same bytes under names that are put together to the same.
    let named = |path: &str, content: &str| {
        json!({ "files": [
            { "path": "main.cpp", "content": "#include <cstdio>\n#if __has_include(\"ab\")\nint main() { std::puts(\"ab\"); }\n#else\nint main() { std::puts(\"a\"); }\n#endif\n" },
            { "path": path, "content": content },
        ] })
    };
    faults.extend(expect(ground, "cpp", named("a", "bc"), "a\n").await);
    faults.extend(expect(ground, "cpp", named("ab", "c"), "ab\n").await);
    faults
}

async fn options(ground: &mut Ground) -> Vec<String> {
    const CODE: &str = "#include <cstdio>\n#ifndef N\n#define N 0\n#endif\nint main() { std::printf(\"%d\\n\", N); }\n";
    let mut faults = Vec::new();
    for (options, printed) in [
        (json!([]), "0\n"),
        (json!(["-DN=1"]), "1\n"),
        (json!(["-DN=2"]), "2\n"),
        (json!([]), "0\n"),
    ] {
        let request = json!({ "code": CODE, "compilerOptions": options });
        faults.extend(expect(ground, "cpp", request, printed).await);
    }
    faults
}

async fn remains(ground: &mut Ground) -> Vec<String> {
    let mut faults = Vec::new();
    // One class is compiled before the other fails, or would be found beside the next program.
    let broken = json!({ "files": [
        { "path": "Main.java", "content": "public class Main { public static void main(String[] a) { Helper.x(); } }" },
        { "path": "Helper.java", "content": "class Helper { static void x() { System.out.println(\"poisoned\"); } }" },
        { "path": "Broken.java", "content": "class Broken { int x = ; }" },
    ] });
    let alone = json!({ "code": "public class Main { public static void main(String[] a) { Helper.x(); } }" });
    for request in [broken, alone] {
        let answer = ground.send("java", &request.to_string()).await;
        if answer["status"] != "compile_error" {
            faults.push(format!("something was compiled: {answer}"));
        }
    }
    faults
}

async fn by_name(ground: &mut Ground) -> Vec<String> {
    const LOOK: &str = r"
import os, sys
found = []
for cache in sys.argv[1:]:
    for attempt in (lambda: os.listdir(cache), lambda: os.scandir(cache).__next__()):
        try: found.append(attempt())
        except OSError: pass
print(found)
";
    let caches: Vec<String> = ["cpp", "java", "go"]
        .iter()
        .map(|it| crate::ground::state_directory(ground.server(it)).join("cache"))
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    let request = json!({ "code": LOOK, "args": caches });
    expect(ground, "python", request, "[]\n").await.into_iter().collect()
}
