// One process of a peer: bench/peers.py tells it what to do, a line of JSON at
// a time, and reads what happened the same way. What is peculiar to a queue is
// in the module named by the first argument; see graphile.mjs for its shape.
//
// usage: node peer.mjs MODULE '{"url": ..., "mode": ...}'

import { createInterface } from "node:readline";

const [module, settings] = process.argv.slice(2);
const { connect } = await import(`./${module}.mjs`);
const peer = await connect(JSON.parse(settings));

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => performance.timeOrigin + performance.now();

// Counts are told while they grow, not per job: a line costs more than a job.
let count = 0;
let told = 0;
setInterval(() => {
  if (count !== told) {
    told = count;
    say({ count });
  }
}, 20);

const started = [];
const handlers = {
  noop: async () => {
    count++;
  },
  record: async (payload) => {
    started.push([payload.n, now()]);
    count++;
  },
  hold: async () => {
    count++;
    await sleep(60_000);
  },
};

const fill = (bytes) => ({ x: "a".repeat(Math.max(0, bytes - 9)) });

const commands = {
  async work({ handler }) {
    await peer.work(handlers[handler]);
  },
  // Enqueue in batches.
  async add({ jobs, bytes, batch }) {
    const payload = fill(bytes);
    for (let left = jobs; left > 0; left -= batch) {
      await peer.add(Array(Math.min(left, batch)).fill(payload));
    }
  },
  // Enqueue one by one, with gaps; answers when each was committed.
  async ping({ jobs, gap_ms }) {
    const committed = [];
    for (let n = 0; n < jobs; n++) {
      await peer.add([{ n }]);
      committed.push([n, now()]);
      await sleep(gap_ms);
    }
    return committed;
  },
  async started() {
    return started;
  },
  // How many jobs are left, running ones included.
  async left() {
    return await peer.left();
  },
};

say({ ready: peer.about });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  say({ answer: (await commands[command.cmd](command)) ?? null });
}
process.exit(0);
