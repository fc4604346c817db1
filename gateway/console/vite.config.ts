import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import { defineConfig, type Plugin } from "vite";

/** What sets the theme before anything is drawn: a script of its own, since none may be inline. */
function earlyTheme(): Plugin {
  let name = "";
  return {
    name: "early-theme",
    apply: "build",
    buildStart() {
      const source = readFileSync("page/early.js", "utf8");
      name = `assets/early-${createHash("sha256").update(source).digest("hex").slice(0, 8)}.js`;
      this.emitFile({ type: "asset", fileName: name, source });
    },
    transformIndexHtml: {
      order: "post",
      handler: () => [{ tag: "script", attrs: { src: `/${name}` }, injectTo: "head-prepend" }],
    },
  };
}

/** What a first visit of a place may load, compressed, in KB: the page, and what this place cannot do without. */
const BUDGETS: Record<string, { of: string; most: number }> = {
  "/": { of: "page/fleet/page.tsx", most: 150 },
  "/play": { of: "page/play/page.tsx", most: 350 },
};

type Bundle = Parameters<Extract<NonNullable<Plugin["writeBundle"]>, (...args: never[]) => unknown>>[1];

/** Compresses once, as well as it can be done, what is sent many times; and sees that it is not too much. */
function compressed(): Plugin {
  const smallest = 1024;
  return {
    name: "compressed",
    apply: "build",
    writeBundle({ dir }, bundle) {
      const sizes = new Map<string, number>();
      for (const entry of readdirSync(dir!, { recursive: true, encoding: "utf8" })) {
        const path = join(dir!, entry);
        if (!statSync(path).isFile() || !/\.(js|css|html|svg|json)$/.test(path)) continue;
        const plain = readFileSync(path);
        sizes.set(entry, plain.length);
        if (plain.length < smallest) continue;
        const brotli = brotliCompressSync(plain, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
        });
        writeFileSync(`${path}.br`, brotli);
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
        sizes.set(entry, brotli.length);
      }
      const named = readFileSync(join(dir!, "index.html"), "utf8").matchAll(/"\/(assets\/[^"]+)"/g);
      const page = ["index.html", ...Array.from(named, (it) => it[1]!)];
      for (const [place, { of, most }] of Object.entries(BUDGETS)) {
        const files = new Set([...page, ...needed(bundle, of)]);
        const bytes = [...files].reduce((sum, it) => sum + (sizes.get(it) ?? Number.NaN), 0);
        if (!(bytes <= most << 10)) this.error(`${place} loads ${Math.ceil(bytes / 1024)} KB at first, and may load ${most} KB`);
      }
    },
  };
}

/** The files of a place's own code, and of all that it imports before it does anything. */
function needed(bundle: Bundle, source: string): Set<string> {
  const files = new Set<string>();
  const left = Object.values(bundle).filter((it) => it.type === "chunk" && it.facadeModuleId?.endsWith(source));
  if (left.length !== 1) throw new Error(`${source} is ${left.length} files, not one`);
  for (let chunk = left.pop(); chunk?.type === "chunk"; chunk = left.pop()) {
    if (files.has(chunk.fileName)) continue;
    files.add(chunk.fileName);
    for (const style of chunk.viteMetadata?.importedCss ?? []) files.add(style);
    left.push(...chunk.imports.map((it) => bundle[it]!));
  }
  return files;
}

/**
 * xterm makes style elements and writes style attributes, and the page's policy takes neither: whoever got a
 * program's output into an attribute could then draw over the page. Its own code becomes what the policy allows,
 * and another version of it that is written otherwise fails the build.
 */
function lawfulStyles(): Plugin {
  const changes = [
    { from: /(?:[\w$]+\.)+createElement\("style"\)/g, to: "styleElement()", count: 3 },
    { from: /([\w$]+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{([\w$]+)\};`\)/g, to: "$1.style.cssText+=`${$2};`", count: 1 },
  ];
  const stand = join(import.meta.dirname, "page/run/style.ts");
  return {
    name: "lawful-styles",
    apply: "build",
    transform: {
      filter: { id: /@xterm\/xterm\/lib\/xterm\.mjs$/ },
      handler(code) {
        for (const { from, to, count } of changes) {
          const found = code.match(from)?.length ?? 0;
          if (found !== count) this.error(`xterm matches ${from} ${found} times, not ${count}`);
          code = code.replace(from, to);
        }
        return { code: `import { styleElement } from ${JSON.stringify(stand)};\n${code}`, map: null };
      },
    },
  };
}

/** The gateway that a page which is being written talks to. */
const target = process.env.FLOTILLA_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  base: "/",
  plugins: [earlyTheme(), lawfulStyles(), compressed()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/collab", "/health", "/docs", "/openapi.json"].map((it) => [it, { target, ws: true }])),
  },
});
