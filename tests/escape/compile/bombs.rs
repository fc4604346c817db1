//! What a compiler may spend is bounded, as it is for programs: time, memory, output and files.

use serde_json::Value;

use crate::attack::{Attack, Ends, attack};
use crate::promise::{DISK, MEMORY_TOTAL};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "what a compiler spends is bounded",
    against: &[MEMORY_TOTAL],
    scenarios: &[],
    attacks: &[
        bomb(
            "macros that grow without end, in C++",
            "cpp",
            "#define A 1,1,1,1,1,1,1,1,1,1\n#define B A,A,A,A,A,A,A,A,A,A\n#define C B,B,B,B,B,B,B,B,B,B\n#define D C,C,C,C,C,C,C,C,C,C\n#define E D,D,D,D,D,D,D,D,D,D\n#define F E,E,E,E,E,E,E,E,E,E\n#define G F,F,F,F,F,F,F,F,F,F\n#define H G,G,G,G,G,G,G,G,G,G\nint numbers[] = { H,H,H,H,H,H,H,H,H,H };\nint main() {}\n",
        ),
        bomb(
            "templates that grow without end, in C++",
            "cpp",
            "template <int N, class... T> struct Node { using type = typename Node<N - 1, Node<N, T..., int>, Node<N, T..., char>, T..., T...>::type; };\ntemplate <class... T> struct Node<0, T...> { using type = int; };\nNode<40, int, char>::type it;\nint main() {}\n",
        ),
        bomb(
            "a program of gigabytes, in C++",
            "cpp",
            "char large[3000000000] = {1};\nint main() { return large[5]; }\n",
        )
        .against(&[DISK]),
        bomb(
            "messages without end, in C++",
            "cpp",
            "#define A nothing;nothing2;nothing3;nothing4;nothing5;nothing6;nothing7;nothing8;\n#define B A A A A A A A A A A\n#define C B B B B B B B B B B\n#define D C C C C C C C C C C\nint main() { D D D }\n",
        )
        .ends(Ends::Checked("compile_error", is_bounded)),
        bomb(
            "brackets without end, in C++",
            "cpp",
            "#define A ((((((((((\n#define B A A A A A A A A A A\n#define C B B B B B B B B B B\n#define D C C C C C C C C C C\n#define E D D D D D D D D D D\nint main() { return E E E E 1; }\n",
        ),
        bomb(
            "macros that grow without end, in Rust",
            "rust",
            "macro_rules! grow { ($($it:tt)*) => { grow!($($it)* $($it)* $($it)*) } }\nfn main() { grow!(a b c d) }\n",
        ),
        bomb(
            "constants that are computed without end, in Rust",
            "rust",
            "const fn grow(n: u64) -> u64 { if n == 0 { 0 } else { grow(n - 1) + 1 } }\nconst HUGE: [u8; 1 << 40] = [1; 1 << 40];\nconst DEEP: u64 = grow(u64::MAX);\nfn main() { println!(\"{} {}\", HUGE[5], DEEP) }\n",
        ),
        bomb(
            "a program of gigabytes, in Rust",
            "rust",
            "static LARGE: [u8; 3_000_000_000] = [1; 3_000_000_000];\nfn main() { println!(\"{}\", LARGE[std::env::args().count()]) }\n",
        ),
        bomb(
            "include a device without end, in Rust",
            "rust",
            "static ZEROS: &[u8] = include_bytes!(\"/dev/zero\");\nfn main() { println!(\"{}\", ZEROS.len()) }\n",
        ),
        bomb(
            "types without end, in Rust",
            "rust",
            "fn deep<T: Default>(n: u32, _: T) { if n > 0 { deep(n - 1, (T::default(), T::default())) } }\nfn main() { deep(1000, 0_u8) }\n",
        ),
        bomb(
            "a program of gigabytes, in Go",
            "go",
            "package main\n\nvar large = [3000000000]byte{2999999999: 1}\n\nfunc main() { println(large[5]) }\n",
        ),
        bomb(
            "constants that grow without end, in Go",
            "go",
            "package main\n\nconst a = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"\nconst b = a + a + a + a + a + a + a + a + a + a\nconst c = b + b + b + b + b + b + b + b + b + b\nconst d = c + c + c + c + c + c + c + c + c + c\nconst e = d + d + d + d + d + d + d + d + d + d\nconst f = e + e + e + e + e + e + e + e + e + e\nconst g = f + f + f + f + f + f + f + f + f + f\nconst h = g + g + g + g + g + g + g + g + g + g\n\nfunc main() { println(h + h + h + h) }\n",
        ),
        bomb(
            "embed a device without end, in Go",
            "go",
            "package main\n\nimport _ \"embed\"\n\n//go:embed /dev/zero\nvar zeros []byte\n\nfunc main() { println(len(zeros)) }\n",
        ),
        bomb(
            "constants that grow without end, in Java",
            "java",
            "public class Main {\n    static final String A = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\", B = A+A+A+A+A+A+A+A+A+A, C = B+B+B+B+B+B+B+B+B+B, D = C+C+C+C+C+C+C+C+C+C, E = D+D+D+D+D+D+D+D+D+D, F = E+E+E+E+E+E+E+E+E+E, G = F+F+F+F+F+F+F+F+F+F, H = G+G+G+G+G+G+G+G+G+G;\n    public static void main(String[] a) { System.out.println(H.length()); }\n}\n",
        ),
    ],
};

/// A source at which the compiler must fail.
const fn bomb(name: &'static str, language: &'static str, code: &'static str) -> Attack {
    attack(name, "the reaper (limits of compilers)", code).in_language(language).ends(Ends::As(&[
        "compile_error",
        "timeout",
        "memory_limit",
    ]))
}

fn is_bounded(answer: &Value) -> bool {
    answer.to_string().len() < 4 << 20
}
