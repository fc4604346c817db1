import { defineConfig } from "vitest/config";

// The palette is read as it is: what people are shown in has to be legible.
export default defineConfig({ test: { include: ["tests/unit/*.test.ts"], environment: "happy-dom", css: true } });
