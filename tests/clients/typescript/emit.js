// Emits one event: `node emit.js DSN QUEUE EVENT PAYLOAD`.

import { Absurd } from "absurd-sdk";

import { connect } from "./connection.js";

const [dsn, queueName, event, payload] = process.argv.slice(2);
const pool = connect(dsn);
await new Absurd({ db: pool, queueName }).emitEvent(event, JSON.parse(payload));
await pool.end();
