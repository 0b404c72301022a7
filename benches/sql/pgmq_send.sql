select pgmq.send(:queue, '{"n": 1}'::jsonb);
