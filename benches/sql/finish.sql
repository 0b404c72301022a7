select coalesce(min(run_id::text), '') as run, count(*) as got from absurd.claim_task(:queue, 'worker', 600, 1) \gset
\if :got
select absurd.complete_run(:queue, :run, '{"ok": true}');
\endif
