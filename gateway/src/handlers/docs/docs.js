// The page to try the API: languages from /v1/languages, runs as event streams, health every few seconds.
"use strict";

// The browser waits for this file before it draws anything, so nobody who chose a theme sees the other one first.
try {
  const theme = localStorage.getItem("flotilla.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Whoever allows no storage has the system's theme.
}

const HEALTH_MS = 5000;
const at = (id) => document.getElementById(id);
const examples = new Map();
let running = null;

function headers(more) {
  const key = at("key").value.trim();
  return { ...(key ? { authorization: `Bearer ${key}` } : {}), ...more };
}

function say(text, kind) {
  at("status").textContent = text;
  at("status").className = kind || "";
}

function print(text, kind) {
  const span = document.createElement("span");
  span.textContent = text;
  if (kind) span.className = kind;
  at("output").append(span);
}

function show(value) {
  at("answer").textContent = JSON.stringify(value, null, 2);
}

function tell(problem) {
  show(problem);
  const fields = (problem.errors || []).map((it) => `\n${it.pointer}: ${it.detail}`).join("");
  say(`${problem.status} ${problem.code}: ${problem.detail}${fields}`, "fail");
}

function finish(report) {
  show(report);
  const passed = report.status === "success" || report.status === "accepted";
  const millis = Math.round(report.executionTime * 1000);
  const code = report.exitCode === null ? "" : `, exit code ${report.exitCode}`;
  say(`${report.status}${code}, ${millis} ms`, passed ? "pass" : "fail");
}

async function languages() {
  const answer = await fetch("/v1/languages", { headers: headers() });
  const body = await answer.json();
  if (!answer.ok) return tell(body);
  const chosen = at("language").value;
  at("language").replaceChildren();
  for (const language of body.languages) {
    const label = `${language.id} ${language.versions[0] || ""}${language.available ? "" : " (down)"}`;
    at("language").add(new Option(label, language.id, false, language.id === chosen));
    examples.set(language.id, language.example);
  }
  if (!at("code").value) example();
}

function example() {
  at("code").value = examples.get(at("language").value) || "";
}

function submission(withInput) {
  const body = { language: at("language").value, code: at("code").value };
  if (withInput) {
    body.inputData = at("input").value;
    body.timeout = Number(at("timeout").value);
  }
  return JSON.stringify(body);
}

async function send(path, withInput, accept) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  at("output").replaceChildren();
  at("answer").textContent = "";
  at("stop").disabled = false;
  say("…");
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: headers({ "content-type": "application/json", accept }),
      body: submission(withInput),
      signal: mine.signal,
    });
    if (!answer.ok) return tell(await answer.json());
    if ((answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
      return await follow(answer);
    }
    return await answer.json();
  } catch (error) {
    say(error.name === "AbortError" ? "stopped" : String(error), "fail");
  } finally {
    if (running === mine) {
      at("stop").disabled = true;
      running = null;
    }
  }
}

async function follow(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    pending += value;
    const events = pending.split("\n\n");
    pending = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (data) happen(JSON.parse(data));
    }
  }
}

function happen(event) {
  if (event.type === "stage") say(`${event.stage} …`);
  else if (event.type === "stdout") print(event.data);
  else if (event.type === "stderr") print(event.data, "stderr");
  else if (event.type === "exit") finish(event.report);
  else if (event.type === "fault") tell(event.problem);
}

async function run(event) {
  event.preventDefault();
  const report = await send("/v1/execute", true, at("stream").checked ? "text/event-stream" : "application/json");
  if (!report) return;
  print(report.output);
  print(report.error, "stderr");
  finish(report);
}

async function validate() {
  const report = await send("/v1/validate", false, "application/json");
  if (!report) return;
  show(report);
  for (const it of report.errors) print(`${it.line}:${it.column} ${it.message}\n`, "stderr");
  for (const it of report.warnings) print(`${it.line}:${it.column} ${it.message}\n`);
  say(report.isValid ? "valid" : "not valid", report.isValid ? "pass" : "fail");
}

function cell(row, text, kind) {
  const made = row.insertCell();
  made.textContent = text;
  if (kind) made.className = kind;
}

async function health() {
  const body = await (await fetch("/health")).json();
  at("executors").replaceChildren();
  for (const it of body.executors) {
    const row = at("executors").insertRow();
    cell(row, it.label);
    cell(row, it.output ? `${it.status}: ${it.output}` : it.status, it.status);
    cell(row, it.isolation || "–");
    cell(row, `${it.slotsFree} of ${it.slots}`);
    cell(row, it.latencyMs === null ? "–" : `${it.latencyMs.toFixed(1)} ms`);
    cell(row, new Date(it.since).toLocaleString());
  }
}

async function operations() {
  const description = await (await fetch("/openapi.json")).json();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const term = document.createElement("dt");
      const meaning = document.createElement("dd");
      term.textContent = `${method.toUpperCase()} ${path}`;
      meaning.textContent = operation.summary;
      at("operations").append(term, meaning);
    }
  }
}

// Asks for health again and again, and rests while nobody looks.
let timer;
async function watch() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    await health();
    at("silence").textContent = "";
  } catch {
    at("silence").textContent = "The gateway does not answer; this is how the fleet was before.";
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(watch, HEALTH_MS);
}

function complain(error) {
  say(String(error), "fail");
}

function begin() {
  at("form").addEventListener("submit", run);
  at("validate").addEventListener("click", validate);
  at("stop").addEventListener("click", () => running?.abort());
  at("language").addEventListener("change", example);
  at("key").addEventListener("change", () => languages().catch(complain));
  document.addEventListener("visibilitychange", watch);
  operations().catch(complain);
  languages().catch(complain);
  watch();
}

document.addEventListener("DOMContentLoaded", begin);
