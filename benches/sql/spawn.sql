select task_id from absurd.spawn_task(:queue, 'task', '{"n": 1}', '{"max_attempts": 3}');
