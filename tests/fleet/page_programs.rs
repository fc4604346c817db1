//! The programs that the console's suites write and run in a browser.

use serde_json::{Value, json};

/// What the suites write: they know no language.
pub(crate) fn programs() -> Value {
    json!({
        "language": "python",
        "quick": "print(6 * 7)\n",
        "holds": "import time\nheld = bytearray(32 << 20)\ntime.sleep(0.5)\n",
        "fails": "raise SystemExit(3)\n",
        "endless": "while True: pass\n",
        "uncompilable": uncompilable(),
        "leaves": {
            "source": format!("import base64\nopen('dot.png', 'wb').write(base64.b64decode('{DOT}'))\n\
                               open('rows.csv', 'w', newline='').write({ROWS:?})\n"),
            "png": DOT,
            "csv": ROWS,
        },
        "waits": "import time\nprint('begun', flush=True)\ntime.sleep(50)\n",
        "asks": "import sys\nprint('hello', input('Name? '), flush=True)\n\
                 for line in sys.stdin: print('got', line.rstrip('\\n'), flush=True)\n\
                 print('end of input')\n",
        "interrupted": "import time\ntry:\n  print('begun', flush=True)\n  time.sleep(50)\n\
                        except KeyboardInterrupt:\n  print('interrupted')\n",
        "terminal": TERMINAL,
        "counts": "import time\nfor n in range(60):\n  print('line', n + 1, flush=True)\n  \
                   time.sleep(0.05)\nprint('got', input())\n",
        "hostile": HOSTILE,
        "floods": "print('y\\n' * 400_000)\n",
        "long": format!("# {}\n", noise(40_000)),
        "markup": "print('<img src=x onerror=alert(1)> \\x1b[31mred\\x1b[0m')\n",
        "broken": {"source": "print(1)\nprint(2\n", "line": 2},
        "picture": "open('dot.svg', 'w').write('<svg xmlns=\"http://www.w3.org/2000/svg\" \
                    width=\"9\" height=\"9\"><rect width=\"9\" height=\"9\"/></svg>')\n",
        "args": "import sys; print(*sys.argv[1:], sys.stdin.read())\n",
        "two": {
            "main": "import other\n",
            "path": "other.py",
            "other": "print('from the other file')\n",
        },
    })
}

/// A program of each language that has a compiler, with the line that it refuses.
fn uncompilable() -> Value {
    let at = |line: u8, source: &str| json!({"source": source, "line": line});
    json!({
        "cpp": at(3, "int main() {\n  int answer = 42;\n  return missing + answer;\n}\n"),
        "go": at(4, "package main\n\nfunc main() {\n\tmissing()\n}\n"),
        "java": at(3, "class Main {\n  public static void main(String[] args) {\n    \
                       int answer = missing;\n  }\n}\n"),
        "rust": at(3, "fn main() {\n  let answer = 42;\n  missing(answer);\n}\n"),
        "typescript": at(2, "const answer: number = 42;\nconst other: = answer;\n"),
    })
}

/// A picture of one pixel.
const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// What a table may hold that is easily spoilt.
const ROWS: &str = "name,sum\r\n\"a, b\",1\r\nü,2\r\n";

/// Says whether it has a terminal and how large that is, whenever that changes; asks, and waits to
/// be interrupted.
const TERMINAL: &str = r#"import os, signal
def size(*_): print("size", *os.get_terminal_size())
signal.signal(signal.SIGWINCH, size)
print("terminal", all(os.isatty(it) for it in (0, 1, 2)))
size()
print("\x1b[38;2;250;240;10m\x1b[48;2;10;20;200mtrue colour\x1b[0m")
try:
  print("hello", input("Name? "))
  while True: input()
except KeyboardInterrupt: print("interrupted")
"#;

/// Writes what pages and terminals should not do, and 100 MB.
const HOSTILE: &str = r#"import sys
out = sys.stdout
out.write("<img src=x onerror='harmed=1'><script>harmed=1</script><iframe src=//evil.example></iframe>\n")
out.write("\x1b]0;harmed\x07\x1b]2;harmed\x1b\\\x1b]8;;javascript:harmed=1\x1b\\link\x1b]8;;\x1b\\\n")
out.write("\x1b]52;c;aGFybWVk\x07\x1b[6n\x1b[c\x1b[>c\x1bP$qm\x1b\\\x1b[?1049h\x1b[?1000h\x1b[9999999;9999999H\n")
out.write("\x1b[99999999999999999999m\x1b[" + ";" * 5000 + "m\x1b]" + "x" * 100_000 + "\n")
out.write("\x9b31m\x00\x07\x08\x0e\ud7ff\u202e\u2028" + "e\u0301" * 1000 + "\u0301" * 10_000 + "\n")
for _ in range(1000): out.write("\x1b[31m<b>x</b>" * 8000 + "\n")
"#;

/// Digits that no compression makes less of.
fn noise(length: usize) -> String {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from_digit(u32::try_from(state >> 59).unwrap(), 32).unwrap()
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}
