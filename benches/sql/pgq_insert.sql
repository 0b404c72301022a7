select pgq.insert_event(:queue, 'task', '{"n": 1}');
