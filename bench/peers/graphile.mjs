// graphile-worker. Batches as its page on performance sets them (worker.
// graphile.org/docs/performance); "single" is the same without batches.
//
// connect(settings) answers what peer.mjs needs of a queue: about (its settings
// in words), add(payloads), left(), work(handler).

import { makeWorkerUtils, run } from "graphile-worker";
import { Logger } from "graphile-worker";

const TASK = "bench";
const CONCURRENCY = 24;
const batches = {
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

export async function connect({ url, mode }) {
  const worker = {
    connectionString: url,
    concurrentJobs: CONCURRENCY,
    maxPoolSize: CONCURRENCY + 1,
    ...(mode === "single" ? {} : batches),
  };
  const logger = new Logger(() => () => {});
  const preset = { worker: { ...worker, logger } };
  const utils = await makeWorkerUtils({ preset });
  await utils.migrate();
  const { connectionString: _, ...about } = worker;
  return {
    about,
    add: (payloads) =>
      utils.addJobs(payloads.map((payload) => ({ identifier: TASK, payload }))),
    left: () =>
      utils.withPgClient(async (client) => {
        const { rows } = await client.query(
          "select exists (select from graphile_worker._private_jobs) as some",
        );
        return rows[0].some ? 1 : 0;
      }),
    work: (handler) =>
      run({ preset, taskList: { [TASK]: handler }, noHandleSignals: true }),
  };
}
