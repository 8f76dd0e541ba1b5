// Fastify with pg: the primary of a cluster with one process per processor, as
// Fastify's and node's pages on deployment have it. It serves nothing itself.

import cluster from "node:cluster";

const PROCESSES = 2; // as many as chimpd has

export async function connect(settings) {
  cluster.setupPrimary({
    exec: "fastify_server.mjs",
    args: [JSON.stringify(settings)],
    silent: true, // stdout is for JSON
  });
  await Promise.all(
    Array.from(
      { length: PROCESSES },
      () =>
        new Promise((resolve, reject) => {
          const server = cluster.fork();
          server.process.stderr.pipe(process.stderr);
          server.once("listening", resolve);
          server.once("exit", () => reject(new Error("a server has ended")));
        }),
    ),
  );
  return {
    about: {
      processes: PROCESSES,
      pool: settings.pool,
      statements: "named",
      serialization: "by schema",
    },
  };
}
