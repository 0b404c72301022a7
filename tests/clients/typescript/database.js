// A database of a test file's own, with the extension, dropped at the end.

import { randomUUID } from "node:crypto";

import { connect } from "./connection.js";
import { TABLES } from "./ledger.js";

const VARIABLE = "ABSURD_TEST_DSN_BASE";

/** Creates the database; `dsn` names it, `rows` runs a query, `drop` removes it. */
export async function database(purpose) {
  const server = process.env[VARIABLE];
  if (!server) throw new Error(`${VARIABLE} is not set; it must hold a server's libpq keywords`);
  const name = `clients_${purpose}_${randomUUID().slice(0, 8)}`;
  const admin = connect(server, "postgres");
  await admin.query(`create database ${name}`);
  const dsn = `${server} dbname=${name}`;
  const pool = connect(dsn);
  // Dropping the database ends the connections that are still idle in the pool.
  pool.on("error", () => {});
  await pool.query("create extension absurd");
  await pool.query(TABLES);
  return {
    dsn,
    pool,
    rows: async (query, values) => (await pool.query(query, values)).rows,
    drop: async () => {
      await pool.end();
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}
