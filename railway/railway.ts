// The fleet as one Railway project: every service of services.json, and the variables between them.
import { env } from "node:process";

import { defineRailway, github, preserve, project, ref, service } from "railway/iac";
import type { ServiceConfigInput } from "railway/iac";

import services from "./services.json" with { type: "json" };

type Service = (typeof services)[number];

/** `owner/name` of the repository to build from; without one, `railway up` sends the checkout. */
const repository = env["FLOTILLA_REPOSITORY"];
/** The public name of the gateway, if it has one of its own. */
const domain = env["FLOTILLA_DOMAIN"];

/** What every service has in common; nothing here makes it public. */
function settings(it: Service): ServiceConfigInput {
  return {
    ...(repository ? { source: github(repository) } : {}),
    build: {
      builder: "DOCKERFILE",
      dockerfilePath: `${it.folder}/Dockerfile`,
      watchPatterns: [`/${it.folder}/**`, "/shared/**", "/Cargo.toml", "/Cargo.lock"],
    },
    deploy: {
      healthcheckPath: it.health,
      healthcheckTimeout: 300,
      restartPolicyType: "ON_FAILURE",
      restartPolicyMaxRetries: 10,
      // Railway's own default is 0: SIGKILL at once.
      drainingSeconds: it.drainSeconds,
      limitOverride: { containers: { memoryBytes: it.memoryMb * 1024 * 1024 } },
    },
  };
}

/** Where the gateway finds an executor: `<NAME>_EXECUTOR_URL` and the address to put there. */
function address(it: Service): [string, string] {
  const name = it.name.replace("executor-", "").toUpperCase();
  // Railway fills the braces in. Ports of the private network are not mapped, hence `PORT` below.
  return [`${name}_EXECUTOR_URL`, `http://\${{${it.name}.RAILWAY_PRIVATE_DOMAIN}}:${it.port}`];
}

export default defineRailway(() => {
  const [door] = services.filter((it) => it.public);
  if (!door) throw new Error("services.json has no public service");
  const executors = services.filter((it) => !it.public);

  const gateway = service(door.name, {
    ...settings(door),
    domains: domain ? [{ domain, port: door.port }] : [],
    env: {
      PORT: String(door.port),
      GATEWAY_HOST: "::",
      // The edge writes `X-Real-IP`, and nothing from outside comes another way.
      GATEWAY_TRUST_FORWARDED_FOR: "true",
      GATEWAY_DRAIN_SECONDS: String(door.drainSeconds - 5),
      // Both are set once by hand and kept; see README.md.
      GATEWAY_KEYS: preserve(),
      GATEWAY_EXECUTOR_TOKEN: preserve(),
      ...Object.fromEntries(executors.map(address)),
    },
  });

  const fleet = executors.map((it) =>
    service(it.name, {
      ...settings(it),
      env: {
        PORT: String(it.port),
        EXECUTOR_HOST: "::",
        EXECUTOR_SLOTS: "2",
        EXECUTOR_MIN_ISOLATION: "separated",
        EXECUTOR_DRAIN_SECONDS: String(it.drainSeconds - 5),
        EXECUTOR_TOKEN: ref(gateway, "GATEWAY_EXECUTOR_TOKEN"),
      },
    }),
  );

  return project("flotilla", { resources: [gateway, ...fleet] });
});
