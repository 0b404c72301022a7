select count(*)::integer, (select max(ended_at) from oldest) from tasks
