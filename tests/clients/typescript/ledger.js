// What tasks really did, written beside the engine, and the gates that hold them up: the twin of
// ledger.py.

export const TABLES = `
create table public.work (
    task_id uuid not null,
    what text not null,
    worker text not null,
    at timestamptz not null default clock_timestamp()
);
create table public.gate (name text primary key);
`;

const PATIENCE = 30_000; // milliseconds that a task waits for a gate or for its companions

export const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));

/** Asks until the answer is true and returns it; throws when the deadline has passed. */
export async function until(check, what, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await check();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`not within ${patience} ms: ${what}`);
    await pause(20);
  }
}

/** The books of one worker process. */
export class Ledger {
  constructor(pool, worker) {
    this.pool = pool;
    this.worker = worker;
  }

  async did(task, what) {
    await this.pool.query(
      "insert into public.work (task_id, what, worker) values ($1, $2, $3)",
      [task, what, this.worker],
    );
  }

  async one(query, values) {
    const { rows } = await this.pool.query(query, values);
    return rows[0].answer;
  }

  times(task, what) {
    return this.one(
      "select count(*)::int as answer from public.work where task_id = $1 and what = $2",
      [task, what],
    );
  }

  isOpen(gate) {
    return this.one("select exists (select from public.gate where name = $1) as answer", [gate]);
  }

  present(what) {
    return this.one(
      "select count(distinct task_id)::int as answer from public.work where what = $1",
      [what],
    );
  }
}
