// Where the database is: libpq's keywords, as the Python tests use them, for node-postgres.

import pg from "pg";

/** The value of each keyword of a libpq connection string; values may be quoted. */
export function keywords(dsn) {
  const found = {};
  for (const [, key, quoted, plain] of dsn.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))/g)) {
    found[key] = (quoted ?? plain).replace(/\\(.)/g, "$1");
  }
  return found;
}

/** A pool of connections to the database that a libpq connection string names. */
export function connect(dsn, database = undefined) {
  const { host, port, user, password, dbname } = keywords(dsn);
  return new pg.Pool({
    host,
    port: Number(port ?? 5432),
    user,
    password,
    database: database ?? dbname,
  });
}
