import { beforeEach, expect, it } from "vitest";

import { Log } from "../../page/run/log";

const MOST = { lines: 300, pieces: 2000 };

let host: HTMLElement;
let log: Log;
let saved: number;

beforeEach(() => {
  host = document.createElement("div");
  saved = 0;
  log = new Log(host, () => (saved += 1), MOST);
});

const lines = () => [...host.querySelectorAll(".log-line")].map((it) => it.textContent);
const gone = () => host.querySelector(".log-gone span")?.textContent;

function check(pieces: string[], expected: string[]) {
  for (const piece of pieces) {
    log.write("stdout", piece);
    log.flush();
  }
  expect(lines()).toEqual(expected);
}

it("shows lines however they are cut", () => check(["a\nb", "c\n", "\n", "d"], ["a", "bc", "", "d"]));

it("writes over a line that is returned to", () => check(["10 %\r", "20 %", "\r30 %\ndone"], ["30 %", "done"]));

it("begins anew where the screen is cleared", () => check(["a\nb\n", "\u001b[2Jc"], ["c"]));

it("makes texts of everything", () => {
  check(["<img src=x onerror=alert(1)><script>\n"], ["<img src=x onerror=alert(1)><script>"]);
  expect(host.querySelector("img, script")).toBeNull();
});

it("puts what is typed where it was typed", () => {
  log.write("stdout", "Name? ");
  log.write("stdin", "Ann\n");
  log.write("stdout", "hello\n");
  log.flush();
  expect(lines()).toEqual(["Name? Ann", "hello"]);
  expect(host.querySelector(".stdin")?.textContent).toBe("Ann");
});

it("shows the end of a flood, and how much came before it", () => {
  check(["first"], ["first"]);
  log.write("stdout", Array.from({ length: 30_000 }, (_, at) => `${at}\n`).join(""));
  log.flush();
  expect(lines()).toHaveLength(MOST.lines);
  expect(lines().at(-1)).toBe("29999");
  expect(gone()).toMatch(/^29\s700 earlier lines not shown$/);
  host.querySelector<HTMLElement>(".log-gone button")?.click();
  expect(saved).toBe(1);
});

it("shows the end of a slow flood as well, and forgets what it says of it with the rest", () => {
  for (let at = 0; at < 10; at += 1) {
    log.write("stdout", `${at}\n`.repeat(70));
    log.flush();
  }
  expect(lines().length).toBeLessThanOrEqual(MOST.lines);
  expect(lines().at(-1)).toBe("9");
  expect(gone()).toMatch(/^400 earlier/);
  log.clear();
  check(["a"], ["a"]);
  expect(gone()).toBeUndefined();
});

it("makes one piece of what looks the same, and bounds how many there are", () => {
  log.write("stdout", "\u001b[31mred\u001b[31m red");
  log.flush();
  expect(host.querySelectorAll("span")).toHaveLength(1);
  log.write("stdout", `\n${"\u001b[31ma\u001b[32mb".repeat(10_000)}\n`);
  log.flush();
  expect(host.querySelectorAll("span").length).toBeLessThanOrEqual(MOST.pieces);
  expect(gone()).toMatch(/^\d+ earlier/);
});

it("cuts a line that never ends", () => {
  check(["x".repeat(20_000), "y"], ["x".repeat(8192), "x".repeat(8192), `${"x".repeat(3616)}y`]);
});

function checkLinks(text: string, expected: string) {
  let told = "";
  log.write("stderr", text);
  log.flush();
  log.link(["main.x", "lib/other.x"], (...place) => (told += `${place} `));
  const shown = lines().join("\n");
  for (const button of host.querySelectorAll("button")) button.click();
  expect(told).toBe(expected);
  expect(lines().join("\n")).toBe(shown);
}

it("leads to the lines that are named", () => {
  checkLinks('File "main.x", line 3\nlib/other.x:4:5\n at f (main.x:6:7)\n', "main.x,3,1 lib/other.x,4,5 main.x,6,7 ");
});

it("leads to what is below the run's own directory, wherever that is", () => {
  checkLinks(
    'File "/work/main.x", line 3\n at file:///work/lib/other.x:4:5\n./main.x:6\n/tmp/fleet-1/run_2/work/main.x:7\n',
    "main.x,3,1 lib/other.x,4,5 main.x,6,1 main.x,7,1 ",
  );
});

it("does not lead to what others have of the same name", () => {
  checkLinks('File "/usr/lib/x/main.x", line 3\nlib/main.x:4\nxmain.x:5\nämain.x:6\n/work/sub/main.x:7\n../main.x:8\nother.x:9\n', "");
  checkLinks("/usr/lib/\u001b[1mmain.x:3\u001b[0m\n", "");
});
