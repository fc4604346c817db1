/** Every place of the page. A new one is a row here and a folder beside this file. */
import type { Route } from "./shell/router";

export const routes: Route[] = [
  { path: "/", name: "Fleet", load: () => import("./fleet/page") },
  { path: "/play", name: "Playground", load: () => import("./play/page") },
  { path: "/rooms", name: "Rooms", load: () => import("./rooms/lobby") },
  { path: "/rooms/:id", name: "Room", hidden: true, load: () => import("./rooms/page") },
];
