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
            name: "change what the next request of the same program executes",
            stopped_by: "the compile cache (what it runs is what a compile left)",
            against: &[],
            play: |ground| replaced(ground).boxed_local(),
        },
        Scenario {
            name: "reach the cache by the program's own place in it",
            stopped_by: "Landlock (files), or the users of slots",
            against: &[crate::promise::FILES],
            play: |ground| own_place(ground).boxed_local(),
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

/// Does what it can to its own file and to what is around it, and says on standard error what it
/// could. The file's path comes from the kernel (getauxval(3)). With an argument it leaves alone
/// what would give it away at once.
const TAMPER: &str = r##"
#include <dirent.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

static void told(const char* what, bool done) { if (done) std::fprintf(stderr, "%s\n", what); }

static bool opens(const std::string& path, int flags) {
    int file = open(path.c_str(), flags | O_CLOEXEC, 0755);
    if (file < 0) return false;
    if ((flags & O_ACCMODE) != O_RDONLY) (void)!write(file, "#!/bin/echo tampered\n", 21);
    close(file);
    return true;
}

int main(int argc, char**) {
    bool all = argc == 1;
    std::string self = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
    std::string program = self.substr(0, self.rfind('/'));
    std::string entry = program.substr(0, program.rfind('/'));
    std::string cache = entry.substr(0, entry.rfind('/'));
    std::string mine = "tampered";
    told("its file is open for writing", opens(self, O_RDWR));
    told("its file is truncated", truncate(self.c_str(), 0) == 0);
    told("its file has a second name", link(self.c_str(), "second") == 0 || link(self.c_str(), (program + "/second").c_str()) == 0);
    told("a file is beside it", opens(program + "/more", O_CREAT | O_WRONLY));
    told("the manifest is open", opens(entry + "/manifest", O_RDONLY));
    if (all) told("the manifest is written", opens(entry + "/manifest", O_WRONLY | O_TRUNC));
    told("the salt is open", opens(cache + "/salt", O_RDONLY));
    told("the cache is listed", opendir(cache.c_str()) != nullptr);
    told("the entry is listed", opendir(entry.c_str()) != nullptr);
    told("an entry is made", mkdir((cache + "/1-x").c_str(), 0755) == 0);
    if (all) told("the entry is moved", rename(entry.c_str(), (cache + "/moved").c_str()) == 0);
    if (all) rename((cache + "/moved").c_str(), entry.c_str());
    opens(mine, O_CREAT | O_WRONLY);
    told("its file is replaced by its own", rename(mine.c_str(), self.c_str()) == 0);
    told("its file is unlinked", unlink(self.c_str()) == 0);
    told("its file is made anew", opens(self, O_CREAT | O_EXCL | O_WRONLY));
    chmod(self.c_str(), 0755);
    std::puts("ran");
}
"##;

/// As many requests as it takes to be found compiled, or not to be.
const REQUESTS: usize = 3;

async fn replaced(ground: &mut Ground) -> Vec<String> {
    let mut faults = Vec::new();
    for args in [json!([]), json!(["quietly"])] {
        let request = json!({ "code": TAMPER, "args": args });
        for _ in 0..REQUESTS {
            faults.extend(expect(ground, "cpp", request.clone(), "ran\n").await);
        }
    }
    faults
}

async fn own_place(ground: &mut Ground) -> Vec<String> {
    let mut faults = Vec::new();
    for request in 0..REQUESTS {
        let answer = ground.send("cpp", &json!({ "code": TAMPER }).to_string()).await;
        if answer["error"] != "" || answer["output"] != "ran\n" {
            faults.push(format!("it could: {answer}"));
        }
        if request > 0 && answer["compile"]["cached"] != true {
            faults.push(format!("it is compiled again: {}", answer["compile"]));
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
