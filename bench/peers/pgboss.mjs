// pg-boss: a table of the queue's own, woken by NOTIFY, batches fetched without
// a pause while they come full (pgboss.io/api/workers). The handler of a batch
// calls ours once per job.

import { PgBoss } from "pg-boss";

const QUEUE = "bench";
const options = {
  batchSize: 500,
  localConcurrency: 4,
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
};
// Told apart from a dead process as soon as it allows.
const queue = { partition: true, notify: true, heartbeatSeconds: 10 };
const supervision = { monitorIntervalSeconds: 1, superviseIntervalSeconds: 1 };

export async function connect({ url, mode }) {
  const boss = new PgBoss({
    connectionString: url,
    useListenNotify: true,
    ...(mode === "kill" ? supervision : {}),
  });
  boss.on("error", (error) => console.error(error.message));
  await boss.start();
  await boss.createQueue(QUEUE, queue);
  return {
    about: { ...options, ...queue },
    add: (payloads) => boss.insert(QUEUE, payloads.map((data) => ({ data }))),
    left: async () => {
      const { rows } = await boss.getDb().executeSql(
        "select exists (select from pgboss.job where name = $1" +
          " and state < 'completed') as some",
        [QUEUE],
      );
      return rows[0].some ? 1 : 0;
    },
    work: (handler) =>
      boss.work(QUEUE, options, (jobs) =>
        Promise.all(jobs.map((job) => handler(job.data))),
      ),
  };
}
