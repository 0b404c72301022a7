// absurd-sdk for TypeScript: everything a task can do, in worker processes that take several tasks
// at once, on unpartitioned and partitioned queues. The same list as test_sdk_workers.py.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { Absurd, TimeoutError } from "absurd-sdk";

import { database } from "./database.js";
import { until } from "./ledger.js";
import { Worker } from "./processes.js";

const quiet = { log() {}, info() {}, warn() {}, error() {} };
const ENDED = new Set(["completed", "failed", "cancelled"]);
const newName = (what) => `${what} ${randomUUID().slice(0, 8)}`;

function tests(mode) {
  describe(`queue ${mode}`, { concurrency: 1 }, () => {
    const queue = `typescript_${mode}`;
    const workers = [];
    let db;
    let app;

    const table = (prefix, where = "true", values = [], order = "1") =>
      db.rows(`select * from absurd."${prefix}_${queue}" where ${where} order by ${order}`, values);
    const ofTask = (prefix, spawned, order) =>
      table(prefix, "task_id = $1", [spawned.taskID], order);
    // As text: an available_at may be infinity.
    const states = async (spawned) =>
      (
        await db.rows(
          `select r.state as run, t.state as task from absurd."r_${queue}" r
             join absurd."t_${queue}" t on t.task_id = r.task_id where r.run_id = $1`,
          [spawned.runID],
        )
      )[0];
    const done = async (spawned) =>
      Object.fromEntries(
        (
          await db.rows(
            "select what, count(*)::int as times from public.work where task_id = $1 group by 1",
            [spawned.taskID],
          )
        ).map(({ what, times }) => [what, times]),
      );
    const spawn = (name, params = {}, options = {}) =>
      app.spawn(name, params, { queue, ...options });
    // The client's own waiting asks less and less often.
    const finish = async ({ taskID }) => {
      await until(async () => ENDED.has((await app.fetchTaskResult(taskID)).state), "its end");
      return app.awaitTaskResult(taskID, { timeout: 1 });
    };
    const openGate = (name) => db.pool.query("insert into public.gate values ($1)", [name]);
    const waits = (spawned) => ofTask("w", spawned);

    before(async () => {
      db = await database(`typescript_${mode}`);
      app = new Absurd({ db: db.pool, queueName: queue, log: quiet });
      await app.createQueue(queue, { storageMode: mode });
      await app.createQueue(`${queue}_children`, { storageMode: mode });
      workers.push(
        new Worker(db.dsn, queue, "first"),
        new Worker(db.dsn, queue, "second"),
        new Worker(db.dsn, `${queue}_children`, "nurse"),
      );
      await Promise.all(workers.map((worker) => worker.ready()));
    });

    after(async () => {
      try {
        await Promise.all(workers.map((worker) => worker.stop()));
      } finally {
        for (const worker of workers) worker.process.kill("SIGKILL");
        await db?.drop();
      }
    });

    test("steps run once each", async () => {
      const spawned = await spawn("steps", { base: 10 }, { headers: { trace: "t-1" } });
      assert.equal(spawned.created, true);
      const { state, result } = await finish(spawned);
      assert.equal(state, "completed");
      assert.deepEqual(result, {
        all: [{ sum: 11 }, { sum: 12 }, ["by", "hand", null], "ünï"],
        headers: { trace: "t-1" },
      });
      const steps = await ofTask("c", spawned, "updated_at");
      assert.deepEqual(
        steps.map((found) => found.checkpoint_name),
        ["add", "add#2", "by hand", "decorated"],
      );
      const [task] = await ofTask("t", spawned);
      assert.deepEqual([task.state, task.attempts, task.max_attempts], ["completed", 1, 5]);
    });

    test("a task's result is awaited", async () => {
      const spawned = await spawn("sleeper", { seconds: 0.3 });
      assert.deepEqual(await app.awaitTaskResult(spawned.taskID, { timeout: 30 }), {
        state: "completed",
        result: "awake",
      });
      const long = await spawn("sleeper", { seconds: 3600 });
      await assert.rejects(app.awaitTaskResult(long.taskID, { timeout: 0.1 }), TimeoutError);
      await app.cancelTask(long.taskID);
      assert.deepEqual(await app.awaitTaskResult(long.taskID), { state: "cancelled" });
    });

    test("sleeps for seconds", async () => {
      const spawned = await spawn("sleeper", { seconds: 0.4 });
      assert.equal((await finish(spawned)).result, "awake");
      assert.deepEqual(await done(spawned), { start: 2, before: 1, after: 1 });
      const [{ slept }] = await db.rows(
        `select extract(epoch from max(at) filter (where what = 'after')
                        - min(at) filter (where what = 'before'))::float8 as slept
           from public.work where task_id = $1`,
        [spawned.taskID],
      );
      assert.ok(slept >= 0.35, `slept ${slept} seconds`);
      assert.equal((await ofTask("r", spawned)).length, 1);
    });

    test("sleeps until a moment", async () => {
      const moment = new Date(Date.now() + 600);
      const spawned = await spawn("sleeper", { until: moment.toISOString() });
      await until(async () => (await states(spawned)).run === "sleeping", "the task sleeps");
      const [{ available_at: due }] = await ofTask("r", spawned);
      assert.ok(Math.abs(due - moment) < 250, `due ${due}, meant ${moment}`);
      assert.equal((await finish(spawned)).result, "awake");
    });

    test("does not sleep until a moment that has passed", async () => {
      const spawned = await spawn("sleeper", { until: "2020-01-01T00:00:00Z" });
      assert.equal((await finish(spawned)).result, "awake");
      assert.deepEqual(await done(spawned), { start: 1, before: 1, after: 1 });
    });

    test("event without timeout", async () => {
      const event = newName("paid");
      const spawned = await spawn("listener", { event });
      const [wait] = await until(async () => {
        const found = await waits(spawned);
        return found.length && found;
      }, "a registered wait");
      assert.deepEqual([wait.event_name, wait.timeout_at], [event, null]);
      assert.equal((await app.fetchTaskResult(spawned.taskID)).state, "sleeping");
      await app.emitEvent(event, { amount: 12 });
      await app.emitEvent(event, { amount: 13 });
      assert.deepEqual((await finish(spawned)).result, { heard: { amount: 12 } });
      assert.deepEqual(await done(spawned), { start: 2 });
      assert.deepEqual(await waits(spawned), []);
    });

    test("event that has happened", async () => {
      const event = newName("paid");
      await app.emitEvent(event);
      const spawned = await spawn("listener", { event, timeout: 30 });
      assert.deepEqual((await finish(spawned)).result, { heard: null });
      assert.deepEqual(await done(spawned), { start: 1 });
    });

    test("event within its timeout, emitted by a task", async () => {
      const event = newName("paid");
      const spawned = await spawn("listener", { event, timeout: 60 });
      const [wait] = await until(async () => {
        const found = await waits(spawned);
        return found.length && found;
      }, "a registered wait");
      assert.equal(wait.timeout_at - wait.created_at, 60_000);
      const speaker = await spawn("speaker", { event, payload: [1, 2] });
      assert.equal((await finish(speaker)).result, "said");
      assert.deepEqual((await finish(spawned)).result, { heard: [1, 2] });
    });

    test("event that times out, and another one", async () => {
      const [event, other] = [newName("never"), newName("later")];
      const spawned = await spawn("listener", { event, timeout: 1, then: other });
      await until(
        async () => (await waits(spawned)).map((wait) => wait.event_name).join() === other,
        "the task waits for the second event",
      );
      await app.emitEvent(other, "at last");
      assert.deepEqual((await finish(spawned)).result, { "gave up": event, then: "at last" });
      assert.deepEqual(await waits(spawned), []);
    });

    test("heartbeat extends the lease", async () => {
      const gate = newName("gate");
      const spawned = await spawn("beating", { seconds: 900, gate });
      await until(async () => "beat" in (await done(spawned)), "the heartbeat");
      const [run] = await ofTask("r", spawned);
      assert.equal(run.claim_expires_at - run.last_heartbeat, 900_000);
      await openGate(gate);
      assert.equal((await finish(spawned)).result, "alive");
      const [later] = await ofTask("r", spawned);
      assert.ok(later.last_heartbeat > run.last_heartbeat);
    });

    test("retries until it works", async () => {
      const retryStrategy = { kind: "fixed", baseSeconds: 0 };
      const spawned = await spawn("flaky", { failures: 2 }, { maxAttempts: 3, retryStrategy });
      assert.deepEqual((await finish(spawned)).result, { once: "kept", tries: 3 });
      assert.deepEqual(await done(spawned), { once: 1, try: 3 });
      const runs = await ofTask("r", spawned, "attempt");
      assert.deepEqual(
        runs.map((run) => [run.attempt, run.state]),
        [
          [1, "failed"],
          [2, "failed"],
          [3, "completed"],
        ],
      );
      assert.equal(runs[0].failure_reason.name, "RangeError");
      assert.equal(runs[1].failure_reason.message, "try 2 goes wrong");
    });

    test("retries wait as long as their strategy says", async () => {
      const retryStrategy = { kind: "exponential", baseSeconds: 0.4, factor: 2, maxSeconds: 0.5 };
      const spawned = await spawn("flaky", { failures: 2 }, { maxAttempts: 3, retryStrategy });
      assert.equal((await finish(spawned)).state, "completed");
      const [first, second, third] = await ofTask("r", spawned, "attempt");
      assert.ok(second.started_at - first.failed_at >= 400);
      assert.ok(third.started_at - second.failed_at >= 500);
    });

    test("failed for good, then retried in place and as a new task", async () => {
      const spawned = await spawn("flaky", { failures: 1 }, { maxAttempts: 1, headers: { h: 1 } });
      const { state, failure } = await finish(spawned);
      assert.deepEqual([state, failure.message], ["failed", "try 1 goes wrong"]);
      const fresh = await app.retryTask(spawned.taskID, { spawnNewTask: true, maxAttempts: 2 });
      assert.deepEqual([fresh.created, fresh.attempt], [true, 1]);
      assert.notEqual(fresh.taskID, spawned.taskID);
      const again = await app.retryTask(spawned.taskID, { maxAttempts: 4 });
      assert.deepEqual([again.created, again.taskID, again.attempt], [false, spawned.taskID, 2]);
      assert.deepEqual((await finish(spawned)).result, { once: "kept", tries: 2 });
      assert.deepEqual((await finish(fresh)).result, { once: "kept", tries: 2 });
      assert.deepEqual((await ofTask("t", fresh))[0].headers, { h: 1 });
      await assert.rejects(app.retryTask(spawned.taskID), { code: "55000" });
    });

    test("cancelled while running", async () => {
      const spawned = await spawn("long");
      await until(async () => "started" in (await done(spawned)), "the task has started");
      await app.cancelTask(spawned.taskID);
      await until(async () => "cancelled" in (await done(spawned)), "the worker has noticed");
      assert.equal((await finish(spawned)).state, "cancelled");
      assert.deepEqual(await states(spawned), { run: "cancelled", task: "cancelled" });
    });

    test("cancelled while sleeping and while waiting", async () => {
      const sleeper = await spawn("sleeper", { seconds: 3600 });
      const listener = await spawn("listener", { event: newName("never") });
      for (const spawned of [sleeper, listener]) {
        await until(async () => (await states(spawned)).task === "sleeping", "it sleeps");
        await app.cancelTask(spawned.taskID);
        assert.deepEqual(await states(spawned), { run: "cancelled", task: "cancelled" });
      }
      assert.deepEqual(await waits(listener), []);
    });

    test("cancelled by its rule", async () => {
      const cancellation = { maxDuration: 1 };
      const spawned = await spawn("sleeper", { seconds: 3600 }, { cancellation });
      assert.equal((await finish(spawned)).state, "cancelled");
      assert.deepEqual(await done(spawned), { start: 1, before: 1 });
    });

    test("spawned with one key runs once", async () => {
      const idempotencyKey = newName("key");
      const first = await spawn("steps", { base: 1 }, { idempotencyKey });
      const again = await spawn("steps", { base: 2 }, { idempotencyKey });
      assert.deepEqual(again, { ...first, created: false });
      assert.deepEqual((await finish(first)).result.all[0], { sum: 2 });
      assert.equal((await done(first)).start, 1);
      assert.equal((await table("t", "idempotency_key = $1", [idempotencyKey])).length, 1);
    });

    test("a parent awaits its child", async () => {
      const spawned = await spawn("parent", { base: 4 });
      const { result } = await finish(spawned);
      assert.deepEqual([result.state, result.of], ["completed", { grown: 5 }]);
      const [child] = await db.rows(
        `select * from absurd."t_${queue}_children" where task_id = $1`,
        [result.child],
      );
      assert.equal(child.state, "completed");
      assert.equal(child.idempotency_key, `child of ${spawned.taskID}`);
    });

    test("a task that no worker knows is put off", async () => {
      const spawned = await spawn("not registered anywhere");
      await until(async () => (await states(spawned)).run === "sleeping", "it is put off");
      const [run] = await ofTask("r", spawned);
      const seconds = (run.available_at - run.started_at) / 1000;
      assert.ok(seconds >= 15 && seconds <= 31, `put off by ${seconds} seconds`);
      await app.cancelTask(spawned.taskID);
    });

    test("many tasks over two processes", async () => {
      const spawned = [];
      for (let n = 0; n < 60; n += 1) spawned.push(await spawn("steps", { base: n }));
      for (const [n, one] of spawned.entries()) {
        assert.deepEqual((await finish(one)).result.all[0], { sum: n + 1 });
      }
      const starts = await db.rows(
        "select task_id from public.work where what = 'start' and task_id = any($1)",
        [spawned.map((one) => one.taskID)],
      );
      assert.equal(starts.length, 60);
      assert.equal(new Set(starts.map((found) => found.task_id)).size, 60);
    });

    test("queues and their policies", async () => {
      const name = `Policy "typescript" ${mode} ☂`;
      await app.createQueue(name, {
        storageMode: mode,
        partitionLookahead: "42 days",
        partitionLookback: "2 days",
        cleanupTtl: "7 days",
        cleanupLimit: 50,
        detachMode: "empty",
        detachMinAge: "9 days",
      });
      assert.ok((await app.listQueues()).includes(name));
      assert.deepEqual(await app.getQueuePolicy(name), {
        queueName: name,
        storageMode: mode,
        partitionLookahead: "42 days",
        partitionLookback: "2 days",
        cleanupTtl: "7 days",
        cleanupLimit: 50,
        detachMode: "empty",
        detachMinAge: "9 days",
      });
      await app.setQueuePolicy(name, { cleanupLimit: 60 });
      assert.equal((await app.getQueuePolicy(name)).cleanupLimit, 60);
      await app.dropQueue(name);
      assert.ok(!(await app.listQueues()).includes(name));
      await assert.rejects(app.spawn("work", {}, { queue: name }), { code: "42P01" });
    });

    test("works off a batch without a worker's loop", async () => {
      const name = `batch_${mode}`;
      const batch = new Absurd({ db: db.pool, queueName: name, log: quiet });
      await batch.createQueue(name, { storageMode: mode });
      batch.registerTask({ name: "double", defaultMaxAttempts: 2 }, async ({ n }) => n * 2);
      const spawned = [];
      for (const n of [0, 1, 2]) spawned.push(await batch.spawn("double", { n }));
      await batch.workBatch("hand", 30, 2);
      await batch.workBatch("hand", 30, 2);
      for (const [n, one] of spawned.entries()) {
        assert.equal((await batch.fetchTaskResult(one.taskID)).result, n * 2);
      }
      assert.equal(await batch.fetchTaskResult(randomUUID()), null);
      assert.deepEqual(await batch.claimTasks({ batchSize: 5, workerId: "hand" }), []);
    });
  });
}

describe("absurd-sdk", { concurrency: 2 }, () => {
  for (const mode of ["unpartitioned", "partitioned"]) tests(mode);
});
