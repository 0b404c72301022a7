select run_id, task_id from absurd.claim_task('bench', 'worker', 600, 1) \gset
select absurd.set_task_checkpoint_state('bench', :task_id, 'step', '{"done": true}', :run_id, 600);
select absurd.complete_run('bench', :run_id, '{"ok": true}');
