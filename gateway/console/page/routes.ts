/** Every place of the page. A new one is a row here and a folder beside this file. */
import type { Route } from "./shell/router";

export const routes: Route[] = [
  { path: "/", name: "Fleet", load: () => import("./fleet/page") },
  { path: "/play", name: "Playground", load: () => import("./play/page") },
  { path: "/rooms", name: "Rooms", load: () => import("./rooms/lobby") },
  { path: "/rooms/:id", name: "Room", hidden: true, load: () => import("./rooms/page") },
  { path: "/jobs", name: "Jobs", load: () => import("./jobs/page") },
  { path: "/jobs/workers", name: "Workers", hidden: true, load: () => import("./jobs/workers") },
  { path: "/jobs/callbacks", name: "Callbacks", hidden: true, load: () => import("./jobs/callbacks") },
  { path: "/jobs/:id", name: "Job", hidden: true, load: () => import("./jobs/detail") },
];
