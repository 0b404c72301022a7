\set got 0
select run_id as run, 1 as got from absurd.claim_task(:queue, 'worker', 600, 1) \aset
\if :got
select absurd.complete_run(:queue, :run, '{"ok": true}');
\else
select absurd.start_workflow('bench_chain', '1', '{}', :queue);
\endif
