select count(*)::integer from tasks
