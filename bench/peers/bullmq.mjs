// BullMQ on Redis: ended jobs removed and many at once in a process, as its
// guide advises (docs.bullmq.io/guide/workers/concurrency, going-to-production).

import { Queue, Worker } from "bullmq";
import Redis from "ioredis";

const QUEUE = "bench";
const CONCURRENCY = 100;
const about = { concurrency: CONCURRENCY, removeOnComplete: { count: 0 } };

export async function connect({ socket }) {
  // A worker's connection blocks, so that each needs one of its own.
  const dial = () => new Redis({ path: socket, maxRetriesPerRequest: null });
  const queue = new Queue(QUEUE, { connection: dial() });
  await queue.waitUntilReady();
  return {
    about,
    add: (payloads) =>
      queue.addBulk(payloads.map((data) => ({ name: QUEUE, data }))),
    left: async () => {
      const counts = await queue.getJobCounts("wait", "active");
      return counts.wait + counts.active;
    },
    work: async (handler) => {
      const worker = new Worker(QUEUE, (job) => handler(job.data), {
        connection: dial(),
        ...about,
      });
      worker.on("error", (error) => console.error(error.message));
      await worker.waitUntilReady();
    },
  };
}
