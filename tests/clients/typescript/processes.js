// Worker processes of the tests: started, stopped and killed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("worker.js", import.meta.url));
const OPTIONS = { claimTimeout: 30, concurrency: 4, pollInterval: 0.02 };

/** A process that prints `ready` when it works and `stopped` when it has ended well. */
export class Worker {
  constructor(dsn, queue, name, options = {}) {
    const chosen = JSON.stringify({ ...OPTIONS, ...options });
    this.process = spawn(process.execPath, [PROGRAM, dsn, queue, name, chosen]);
    this.out = "";
    this.log = "";
    this.process.stdout.on("data", (data) => (this.out += data));
    this.process.stderr.on("data", (data) => (this.log += data));
    this.ended = once(this.process, "close");
  }

  async ready() {
    while (!this.out.startsWith("ready\n")) {
      await Promise.race([once(this.process.stdout, "data"), this.ended]);
      assert.equal(this.process.exitCode, null, this.log);
    }
    return this;
  }

  /** Ends the worker between two tasks. */
  async stop() {
    assert.equal(this.process.exitCode, null, this.log);
    this.process.kill("SIGTERM");
    const [code] = await this.ended;
    assert.deepEqual([code, this.out], [0, "ready\nstopped\n"], this.log);
  }

  /** kill -9, whatever the worker is doing. */
  async kill() {
    this.process.kill("SIGKILL");
    const [, signal] = await this.ended;
    assert.equal(signal, "SIGKILL");
  }
}

/** Worker processes that end with the work: stopped when it went well, killed when not. */
export async function shift(work) {
  const workers = [];
  const add = async (...added) => {
    workers.push(...added);
    await Promise.all(added.map((worker) => worker.ready()));
  };
  try {
    await work(add);
    for (const worker of workers) if (!worker.process.signalCode) await worker.stop();
  } finally {
    for (const worker of workers) worker.process.kill("SIGKILL");
  }
}
