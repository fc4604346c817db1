import { defineConfig } from "vitest/config";

// The palette is read as it is: what people are shown in has to be legible.
// On a busy machine modules take a while to load.
export default defineConfig({ test: { include: ["tests/unit/*.test.ts"], environment: "happy-dom", css: true, testTimeout: 60_000, hookTimeout: 60_000 } });
