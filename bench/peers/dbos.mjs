// DBOS: durable runs of three steps, each a transaction of its datasource for
// Postgres.js, which records the step with what it has done. "queue": runs are
// enqueued, and executed once the queue is registered; "direct": they are called
// in this process, so many at once.

import { DBOS, DBOSClient } from "@dbos-inc/dbos-sdk";
import { PostgresDataSource } from "@dbos-inc/postgres-datasource";

const QUEUE = "bench";
const CONCURRENCY = 100;
const POOL = 10; // of the datasource; the system's is as large: the defaults
const queue = { workerConcurrency: CONCURRENCY, minPollingIntervalMs: 10 };

export async function connect({ url, host, mode }) {
  const source = new PostgresDataSource("bench", {
    host,
    database: "bench",
    username: "bench",
    max: POOL,
    onnotice: () => {},
  });
  const step = (number) =>
    source.registerTransaction(
      async (n) => {
        await source.client`
          insert into bench.effect (n, step) values (${n}, ${number})`;
      },
      { name: `step${number}` },
    );
  const [first, second, third] = [1, 2, 3].map(step);
  const three = DBOS.registerWorkflow(
    async ({ n }) => {
      await first(n);
      await second(n);
      await third(n);
    },
    { name: "three" },
  );
  DBOS.setConfig({
    name: "bench",
    systemDatabaseUrl: url,
    systemDatabasePoolSize: POOL,
    logLevel: "error",
  });
  await DBOS.launch();
  const client = await DBOSClient.create({ systemDatabaseUrl: url });
  const enqueue = (input) =>
    client.enqueue({ queueName: QUEUE, workflowName: "three" }, input);
  const start = mode === "queue" ? enqueue : three;
  let n = 0;

  const begin = async (left) => {
    while (left.pop()) {
      await start({ n: ++n });
    }
  };

  return {
    about: {
      concurrency: CONCURRENCY,
      pool: POOL,
      ...(mode === "queue" ? queue : {}),
    },
    add: async (payloads) => {
      await Promise.all(
        Array.from({ length: CONCURRENCY }, () => begin(payloads)),
      );
    },
    left: async () => {
      const open = await client.listWorkflows({
        status: ["ENQUEUED", "PENDING"],
        limit: 1,
        loadInput: false,
      });
      return open.length;
    },
    work: () => DBOS.registerQueue(QUEUE, queue).then(() => null),
  };
}
