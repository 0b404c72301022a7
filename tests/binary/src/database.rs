//! A database of the test's own, with one row of everything that a call may need.

use std::env;
use std::error::Error;

use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

/// What went wrong; a test fails with it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Where the server is, in libpq's form: `host=... port=... user=...`.
const DSN: &str = "ABSURD_TEST_DSN_BASE";

/// The rows: task n has the run n. 1 is running, 2 pending, 3 asleep for the event `awaited`, 4 has
/// failed, 5 is running as well; all stand at noon. Task 1 has a checkpoint and a workflow run, and
/// the event `emitted` has happened.
const ROWS: &str = "
    create function task(n int) returns uuid immutable language sql as
        $$ select ('00000000-0000-7000-8000-0000000a000' || n)::uuid $$;
    create function run(n int) returns uuid immutable language sql as
        $$ select ('00000000-0000-7000-8000-0000000b000' || n)::uuid $$;
    set absurd.fake_now = '2030-01-01 12:00:00+00';
    select absurd.create_queue('q');
    insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version, status,
                                     started_at, created_by, tags)
    values ('00000000-0000-7000-8000-00000000f001', 'flow', '1', 'running',
            absurd.current_time(), 'tester', '{\"a\": 1}'),
           ('00000000-0000-7000-8000-00000000f002', 'flow', '1', 'pending', null, null, null);
    insert into absurd.t_q (task_id, task_name, params, state, attempts, last_attempt_run,
                            max_attempts, enqueue_at, first_started_at, workflow_run_id)
    select task(n), 'task ' || n, jsonb_build_object('n', n), state, 1, run(n),
           case state when 'failed' then 1 end, absurd.current_time() - interval '1 minute',
           case when state <> 'pending' then absurd.current_time() end,
           case n when 1 then '00000000-0000-7000-8000-00000000f001'::uuid end
      from (values (1, 'running'), (2, 'pending'), (3, 'sleeping'), (4, 'failed'), (5, 'running'))
           as given (n, state);
    insert into absurd.r_q (run_id, task_id, attempt, state, available_at, claim_expires_at,
                            wake_event, failed_at, failure_reason)
    select last_attempt_run, task_id, 1, state,
           case state when 'sleeping' then 'infinity' else absurd.current_time() end,
           case state when 'running' then absurd.current_time() + interval '30 seconds' end,
           case state when 'sleeping' then 'awaited' end,
           case state when 'failed' then absurd.current_time() end,
           case state when 'failed' then to_jsonb('boom'::text) end
      from absurd.t_q;
    insert into absurd.w_q (task_id, run_id, step_name, event_name)
    values (task(3), run(3), 'wait', 'awaited');
    insert into absurd.c_q (task_id, checkpoint_name, state, owner_run_id)
    values (task(1), 'kept', '{\"x\": 1}', run(1));
    insert into absurd.e_q (event_name, payload, emitted_at)
    values ('emitted', '42', absurd.current_time());";

/// The run that the database executes: it waits, and takes items. It has no tasks, which would get
/// between the rows that calls are made on.
const EXECUTED: &str = r#"
    select absurd.register_workflow('{"name": "executed", "version": "1", "tasks": {
        "each": {"task_id": "each", "operator_type": "foreach", "items": "[0]", "dynamic": true,
                 "loop_body": [
                     {"task_id": "day", "operator_type": "wait", "wait_for": "P1D"}]}}}', 'q')"#;

/// The id of task `n`.
pub const fn task(n: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_000a_0000 + n)
}

/// The id of run `n`.
pub const fn run(n: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_000b_0000 + n)
}

/// The id of workflow run `n`.
pub const fn flow(n: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_f000 + n)
}

/// A connection to a new database of this name that holds the extension and the rows, and the id of
/// the run that the database executes.
///
/// # Errors
/// When the variable is not set, the server cannot be reached, or the extension cannot be created.
pub async fn open(name: &str) -> Result<(Client, Uuid), Failure> {
    let base = env::var(DSN).map_err(|_| format!("{DSN} is not set: where is the server?"))?;
    let server: Config = base.parse()?;
    let admin = connect(server.clone().dbname("postgres")).await?;
    admin.batch_execute(&format!("drop database if exists {name} with (force)")).await?;
    admin.batch_execute(&format!("create database {name}")).await?;
    let client = connect(server.clone().dbname(name)).await?;
    client.batch_execute("create extension absurd").await?;
    client.batch_execute(ROWS).await?;
    client.batch_execute(EXECUTED).await?;
    let started = client.query_one("select absurd.start_workflow('executed')", &[]).await?;
    let executed = started.try_get(0)?;
    Ok((client, executed))
}

async fn connect(config: &Config) -> Result<Client, Failure> {
    let (client, connection) = config.connect(NoTls).await?;
    // Ends with the client; what breaks the connection fails the client's next call.
    tokio::spawn(connection);
    Ok(client)
}
