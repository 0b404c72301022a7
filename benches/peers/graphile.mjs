// graphile-worker on its own task. `graphile.mjs SOCKET DATABASE setup|fill N|claim N|enqueue N K|work N K`
import { createRequire } from "node:module";
import pg from "pg";
import { Logger, makeWorkerUtils, run } from "graphile-worker";

const [socket, database, verb, ...numbers] = process.argv.slice(2);
const [count, workers] = numbers.map(Number);
const pool = new pg.Pool({ host: socket, port: 54330, user: "postgres", database, max: 12 });
const logger = new Logger(() => () => {});
const print = (numbers) => console.log(JSON.stringify(numbers));
const seconds = async (what) => {
  const began = performance.now();
  await what();
  return (performance.now() - began) / 1000;
};
const each = (n, k, one) =>
  Promise.all(Array.from({ length: k }, async (_, w) => { for (let i = w; i < n; i += k) await one(i); }));

// Runs n jobs with k workers: `done` is told of each.
const work = async (k, done) => {
  let runner;
  const all = new Promise((resolve) => {
    done.finished = resolve;
  });
  runner = await run({ pgPool: pool, concurrency: k, logger, noHandleSignals: true, pollInterval: 1000,
    taskList: { work: async () => done() } });
  await all;
  await runner.stop();
};

if (verb === "setup") {
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  await utils.release();
  print({});
} else if (verb === "fill") {
  // One by its function, the others as copies of that row: the function takes half a millisecond.
  await pool.query("select graphile_worker.add_job('work', '{\"n\": 1}')");
  await pool.query(`insert into graphile_worker._private_jobs (task_id, payload) select task_id, payload
    from (select * from graphile_worker._private_jobs where is_available limit 1) one, generate_series(2, $1::int)`, [count]);
  print({});
} else if (verb === "claim") {
  // The very statement that its worker claims with, timed from here.
  const { batchGetJobs } = createRequire(import.meta.url)(
    new URL("./node_modules/graphile-worker/dist/sql/getJobs.js", import.meta.url).pathname);
  const { processSharedOptions } = createRequire(import.meta.url)(
    new URL("./node_modules/graphile-worker/dist/lib.js", import.meta.url).pathname);
  const shared = processSharedOptions({ pgPool: pool, logger, preset: { worker: { preparedStatements: true } } });
  const client = await pool.connect();
  const withClient = Object.assign((use) => use(client), { withRetries: (use) => use(client) });
  const times = [];
  const end = performance.now() + 3000;
  for (let i = 0; i < count && (i < 7 || performance.now() < end); i += 1) {
    const began = performance.now();
    const jobs = await batchGetJobs(shared, withClient, { work: async () => {} }, "bench", null, 1);
    times.push((performance.now() - began) * 1000);
    if (jobs.length !== 1) throw new Error(`got ${jobs.length} jobs`);
  }
  client.release();
  print({ us: times });
} else if (verb === "enqueue") {
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  print({ seconds: await seconds(() => each(count, workers, () => utils.addJob("work", { n: 1 }))) });
  await utils.release();
} else {
  let left = count;
  const done = () => { left -= 1; if (left === 0) done.finished(); };
  print({ seconds: await seconds(() => work(workers, done)) });
}
await pool.end();
process.exit(0);
