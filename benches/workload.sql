-- One worker's calls, timed on the server. Prints: name, calls, microseconds a call.
-- Variables: backlog, the tasks that wait while the worker works; claims, how many it claims.
\set QUIET on
\pset format unaligned
\pset fieldsep ' '
\pset tuples_only on
set client_min_messages = warning;
select absurd.create_queue('bench') \g /dev/null

create procedure pg_temp.measure(name text, calls int, statement text) language plpgsql as $$
declare began timestamptz := clock_timestamp();
begin
    execute statement;
    insert into pg_temp.figures
    values (name, calls, extract(epoch from clock_timestamp() - began) * 1e6 / calls);
end $$;
create temp table figures (name text, calls int, micros numeric);
create temp table mine (run_id uuid, task_id uuid);

call pg_temp.measure('spawn', :backlog, format($$
    select count(*) from generate_series(1, %s) n,
           absurd.spawn_task('bench', 'task ' || n, '{"n": 1}', '{"max_attempts": 3}')$$, :backlog));
call pg_temp.measure('claim', :claims, format($$
    insert into mine select c.run_id, c.task_id from generate_series(1, %s) n,
           absurd.claim_task('bench', 'worker ' || n, 600, 1) c$$, :claims));
call pg_temp.measure('checkpoint', :claims, $$
    select count(*) from mine, lateral (select absurd.set_task_checkpoint_state(
        'bench', task_id, 'step', '{"done": true}', run_id, 600)) s$$);
call pg_temp.measure('complete', :claims, $$
    select count(*) from mine, lateral (select absurd.complete_run(
        'bench', run_id, '{"ok": true}')) s$$);
call pg_temp.measure('claim 10', :claims, format($$
    select count(*) from generate_series(1, %s) n,
           absurd.claim_task('bench', 'worker ' || n, 600, 10) c$$, :claims));
select name, calls, round(micros, 1) from figures;
