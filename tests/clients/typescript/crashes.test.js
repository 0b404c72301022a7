// absurd-sdk for TypeScript: workers that are killed or stall in the middle of a step, and several
// tasks at once. The same list as test_sdk_crashes.py.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Absurd } from "absurd-sdk";

import { database } from "./database.js";
import { until } from "./ledger.js";
import { Worker, shift } from "./processes.js";

const LEASE = 2; // seconds

function tests(mode) {
  describe(`queue ${mode}`, { concurrency: 1 }, () => {
    let db;
    let queues = 0;

    before(async () => {
      db = await database(`crashes_${mode}`);
    });
    after(() => db?.drop());

    const makeQueue = async () => {
      const queue = `crash ${(queues += 1)}`;
      const app = new Absurd({ db: db.pool, queueName: queue });
      await app.createQueue(queue, { storageMode: mode });
      return { queue, app };
    };
    // In one transaction, so that the tasks become visible together, all of them due.
    const spawnAll = async (queue, tasks) => {
      const con = await db.pool.connect();
      try {
        const app = new Absurd({ db: con, queueName: queue });
        const ids = [];
        await con.query("begin");
        await con.query(
          "select set_config('absurd.fake_now', (now() - interval '1 minute')::text, true)",
        );
        for (const [name, params] of tasks) {
          ids.push((await app.spawn(name, params, { queue })).taskID);
        }
        await con.query("commit");
        return ids;
      } finally {
        con.release();
      }
    };
    const done = async (task) =>
      (
        await db.rows("select what, worker from public.work where task_id = $1 order by at", [task])
      ).map(({ what, worker }) => `${what} by ${worker}`);
    const table = (queue, prefix, task, order) =>
      db.rows(`select * from absurd."${prefix}_${queue}" where task_id = $1 order by ${order}`, [
        task,
      ]);
    const openGate = (name) => db.pool.query("insert into public.gate values ($1)", [name]);
    const result = (app, task) => app.awaitTaskResult(task, { timeout: 30 });

    test("two processes hold eight tasks at once", async () => {
      const { queue, app } = await makeQueue();
      await shift(async (add) => {
        await add(new Worker(db.dsn, queue, "first"), new Worker(db.dsn, queue, "second"));
        const ids = await spawnAll(queue, Array(8).fill(["together", { place: queue, of: 8 }]));
        for (const id of ids) assert.equal((await result(app, id)).result, "met");
        const workers = await db.rows(
          "select worker, count(*)::int as held from public.work where what = $1" +
            " group by 1 order by 1",
          [queue],
        );
        assert.deepEqual(workers, [
          { worker: "first", held: 4 },
          { worker: "second", held: 4 },
        ]);
      });
    });

    test("killed in the middle of a step, resumed by another process", async () => {
      const { queue, app } = await makeQueue();
      const gate = `${mode} killed`;
      const event = "freed";
      await shift(async (add) => {
        const [one, two, listener, sleeper] = await spawnAll(queue, [
          ["guarded", { gate }],
          ["guarded", { gate }],
          ["listener", { event }],
          ["sleeper", { seconds: LEASE }],
        ]);
        const victim = new Worker(db.dsn, queue, "victim", { claimTimeout: LEASE });
        await add(victim);
        const inside = ["first by victim", "second by victim"];
        await until(
          async () => (await Promise.all([one, two].map(done))).flat().length === 4,
          "both tasks are in the middle of their second step",
        );
        await until(async () => (await table(queue, "w", listener, 1)).length, "a wait");
        await until(async () => (await done(sleeper)).includes("before by victim"), "a sleeper");
        await victim.kill();

        const heir = new Worker(db.dsn, queue, "heir");
        await openGate(gate);
        await app.emitEvent(event, 1);
        await add(heir);
        for (const task of [one, two]) {
          assert.deepEqual(await result(app, task), { state: "completed", result: gate });
          assert.deepEqual(await done(task), [...inside, "second by heir"]);
          const [lost, kept] = await table(queue, "r", task, "attempt");
          assert.deepEqual([lost.state, lost.failure_reason.name], ["failed", "$ClaimTimeout"]);
          assert.equal(lost.failure_reason.workerId, "victim");
          assert.deepEqual([kept.state, kept.claimed_by], ["completed", "heir"]);
        }
        assert.deepEqual((await result(app, listener)).result, { heard: 1 });
        assert.equal((await result(app, sleeper)).result, "awake");
      });
    });

    test("a worker that stalls cannot finish what another took over", async () => {
      const { queue, app } = await makeQueue();
      const gate = `${mode} stalled`;
      await shift(async (add) => {
        const [task] = await spawnAll(queue, [["guarded", { gate }]]);
        const stalled = new Worker(db.dsn, queue, "stalled", { claimTimeout: LEASE });
        await add(stalled);
        await until(async () => (await done(task)).includes("second by stalled"), "the step");
        stalled.process.kill("SIGSTOP");
        try {
          await add(new Worker(db.dsn, queue, "heir"));
          await until(async () => (await done(task)).includes("second by heir"), "the lease's end");
          await openGate(gate);
          assert.deepEqual(await result(app, task), { state: "completed", result: gate });
        } finally {
          stalled.process.kill("SIGCONT");
        }
        await until(async () => (await done(task)).includes("lost by stalled"), "it has learned");
        const runs = await table(queue, "r", task, "attempt");
        assert.deepEqual(
          runs.map((run) => run.state),
          ["failed", "completed"],
        );
        assert.equal(runs[1].claimed_by, "heir");
      });
    });
  });
}

describe("crashes", { concurrency: 2 }, () => {
  for (const mode of ["unpartitioned", "partitioned"]) tests(mode);
});
