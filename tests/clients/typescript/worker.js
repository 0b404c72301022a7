// A worker process of absurd-sdk: `node worker.js DSN QUEUE NAME OPTIONS`. OPTIONS are
// startWorker's, as JSON. Ends on SIGTERM, between two tasks.

import { Absurd } from "absurd-sdk";

import { connect } from "./connection.js";
import { Ledger } from "./ledger.js";
import { register, registerChild } from "./tasks.js";

const CHILDREN = "_children";
const [dsn, queue, name, options] = process.argv.slice(2);

const pool = connect(dsn);
const quiet = { log() {}, info() {}, warn() {}, error: console.error };
const app = new Absurd({ db: pool, queueName: queue, log: quiet });
if (queue.endsWith(CHILDREN)) registerChild(app);
else register(app, new Ledger(pool, name), queue + CHILDREN);

await app.startWorker({ workerId: name, fatalOnLeaseTimeout: false, ...JSON.parse(options) });
process.once("SIGTERM", async () => {
  await app.close();
  await pool.end();
  process.stdout.write("stopped\n");
});
process.stdout.write("ready\n");
