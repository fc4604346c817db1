// Evaluates the Railway project for the environment named on the command line, with no network,
// and prints it as JSON. `railway_project.rs` copies this beside railway/railway.ts to run it.
import { createRailwayContext, project, validateGraph } from "railway/iac";
import type { RailwayGraph } from "railway/iac";

import program from "../.railway/railway.ts";

const environment = process.argv[2] ?? "production";
const definition = await program(createRailwayContext({ environment }), project);
const resources = (definition.resources ?? []).flat();
const graph: RailwayGraph = {
  version: 1,
  project: { name: definition.name },
  environments: [{ name: environment }],
  resources,
  edges: [],
};

console.log(JSON.stringify({ name: definition.name, faults: validateGraph(graph), resources }));
