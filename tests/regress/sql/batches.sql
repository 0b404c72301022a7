-- Many at once: all or nothing, in input order, errors that name the element.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('batch');
select absurd.create_queue('batch parts', 'partitioned');
create temporary table s as
select * from absurd.spawn_tasks('batch', '[
    {"task_name": "a", "params": {"n": 1}},
    {"task_name": "b", "options": {"max_attempts": 3, "headers": {"h": 1}, "retry_strategy": {"kind": "fixed"}, "cancellation": {"max_delay": 60}, "priority": 2}},
    {"task_name": "c", "params": null, "options": {"idempotency_key": "k", "tenant_id": "x"}},
    {"task_name": "d", "params": [], "options": {"delay_seconds": 90}},
    {"task_name": "e", "options": {"idempotency_key": "k"}},
    {"task_name": "f", "options": null}]') with ordinality s (task_id, run_id, attempt, created, n);
select n, s.attempt, created, t.task_name, t.params, t.headers, t.max_attempts, t.retry_strategy, t.cancellation, t.idempotency_key, t.tenant_id, r.available_at, r.priority
  from s
  join absurd.t_batch t on t.task_id = s.task_id
  join absurd.r_batch r on r.run_id = s.run_id
 order by n;
select count(*) from absurd.t_batch;
select count(*), count(distinct task_id) from absurd.spawn_tasks('batch parts', '[{"task_name": "a", "options": {"idempotency_key": "1"}}, {"task_name": "b"}, {"task_name": "c", "options": {"idempotency_key": "1"}}]');
select count(*) from absurd.spawn_tasks('batch', '[]');
-- A workflow run, by option, header or params, as in spawn_task.
select absurd.create_workflow_run('batch', '1') as run \gset
select count(*) from absurd.spawn_tasks('batch', jsonb_build_array(
    jsonb_build_object('task_name', 'o', 'options', jsonb_build_object('workflow_run_id', :'run')),
    jsonb_build_object('task_name', 'h', 'options', jsonb_build_object('headers', jsonb_build_object('workflow_run_id', :'run'))),
    jsonb_build_object('task_name', 'p', 'params', jsonb_build_object('workflow_run_id', :'run'))));
select task_name, state from absurd.workflow_run_tasks(:'run') order by 1;
-- One bad element, and nothing is spawned.
select count(*) as before from absurd.t_batch \gset
select tasks, pg_temp.try(format('select count(*) from absurd.spawn_tasks(''batch'', %L)', tasks))
  from (values ('{}'), ('7'), ('[7]'), ('[{"task_name": "a"}, {"params": {}}]'), ('[{"task_name": "a"}, {"task_name": ""}]'), ('[{"task_name": "a", "name": 1}]'),
               ('[{"task_name": "a"}, {"task_name": "b", "options": {"max_attempts": 0}}]'), ('[{"task_name": "a", "options": {"retry_strategy": {"kind": "x"}}}]'),
               ('[{"task_name": "a", "options": {"available_at": "soon"}}]'), ('[{"task_name": "a", "options": []}]'),
               ('[{"task_name": "a"}, {"task_name": "b", "options": {"workflow_run_id": "00000000-0000-0000-0000-000000000000"}}]')) v (tasks);
select pg_temp.try($$select count(*) from absurd.spawn_tasks('batch', null)$$), pg_temp.try($$select count(*) from absurd.spawn_tasks('nobody', '[{"task_name": "a"}]')$$);
select count(*) = :before as unchanged from absurd.t_batch;
-- A batch is claimed in its order.
select count(*) from absurd.spawn_tasks('batch parts', (select jsonb_agg(jsonb_build_object('task_name', 'in order', 'params', n)) from generate_series(1, 500) n));
select bool_and(n = params::text::int) from (select row_number() over () as n, params from absurd.claim_task('batch parts', 'w', 60, 1000) where task_name = 'in order') claimed;
-- Completing.
create temporary table mine as select run_id, task_id, task_name, row_number() over (order by task_name) as n from absurd.claim_task('batch', 'w', 60, 7);
select absurd.complete_runs('batch', array(select run_id from mine where n <= 3 order by n), array['{"r": 1}', null, '"three"']::jsonb[]);
select task_name, t.state, completed_payload, r.state, r.result, completed_at = absurd.current_time() as now
  from absurd.t_batch t join absurd.r_batch r using (task_id) join mine using (run_id, task_name) order by n;
select absurd.complete_runs('batch', array(select run_id from mine where n = 4));
select absurd.complete_runs('batch', '{}', '{}');
-- Failing, with a reason each and one retry time for all.
select absurd.fail_runs('batch', array(select run_id from mine where n in (5, 6) order by n desc), array['"six"', '"five"']::jsonb[], '2026-01-01 00:05:00+00');
select t.task_name, r.state, failure_reason, t.state, (select min(available_at) from absurd.r_batch n where n.task_id = r.task_id and n.attempt = 2) as next
  from absurd.r_batch r join mine using (run_id) join absurd.t_batch t on t.task_id = r.task_id where n >= 5 order by n;
-- Errors name the element and leave the others as they were.
create temporary table more as select run_id, 1 as n from mine where n = 7;
select pg_temp.try(format('select absurd.%s', call))
  from (values (format('complete_runs(''batch'', array[%L, %L]::uuid[])', (select run_id from more where n = 1), (select run_id from mine where n = 1))),
               (format('complete_runs(''batch'', array[%L, %L]::uuid[])', (select run_id from more where n = 1), '00000000-0000-0000-0000-000000000000')),
               (format('complete_runs(''batch'', array[%L, %1$L]::uuid[])', (select run_id from more where n = 1))),
               (format('complete_runs(''batch'', array[%L, null]::uuid[])', (select run_id from more where n = 1))),
               (format('complete_runs(''batch'', array[%L]::uuid[], ''{}'')', (select run_id from more where n = 1))),
               (format('fail_runs(''batch'', array[%L, %L]::uuid[])', (select run_id from more where n = 1), (select run_id from mine where n = 6))),
               (format('fail_runs(''batch'', array[%L, %1$L]::uuid[])', (select run_id from more where n = 1))),
               ('fail_runs(''batch'', null)'), ('complete_runs(''batch'', null)'), ('complete_runs(''nobody'', array[gen_random_uuid()])')) v (call);
select r.state from more join absurd.r_batch r using (run_id);
-- Events: the first of a name stands.
select absurd.emit_events('batch', array['b', 'a', 'b'], array['1', null, '2']::jsonb[]);
select absurd.emit_events('batch', array['c']);
select event_name, payload from absurd.e_batch order by 1;
select pg_temp.try('select absurd.' || call)
  from (values ('emit_events(''batch'', array[''x'', null])'), ('emit_events(''batch'', array[''x'', '' ''])'), ('emit_events(''batch'', array[''x''], ''{}'')'),
               ('emit_events(''batch'', null)'), ('emit_events(''nobody'', array[''x''])')) v (call);
select count(*) from absurd.e_batch where event_name = 'x';
-- Waiters wake.
select t.task_id as task, c.run_id as run from absurd.spawn_task('batch', 'waiter', '{}', '{"priority": 8}') t, lateral (select * from absurd.claim_task('batch', 'w', 60)) c \gset
select should_suspend from absurd.await_event('batch', :'task', :'run', 's', 'd');
select absurd.emit_events('batch', array['d', 'e'], array['"woken"', null]::jsonb[]);
select task_name, event_payload from absurd.claim_task('batch', 'w', 60);
select absurd.drop_queue('batch'), absurd.drop_queue('batch parts');
