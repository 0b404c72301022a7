select run_id, task_id from absurd.claim_task('bench', 'worker', 600, 10);
