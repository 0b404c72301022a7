-- A trigger of the owner's that keeps a row as it is, without an error: no verb says that it did what it did not do,
-- and none leaves half of it behind.
set client_min_messages = warning;
set timezone = 'UTC';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('kept');
create function pg_temp.keep() returns trigger language plpgsql as $$ begin return null; end $$;
create function pg_temp.told(call text) returns text language plpgsql as $$
  declare answer text;
  begin
    execute call into answer;
    return coalesce(nullif(regexp_replace(answer, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g'), ''), 'done');
  exception when others then
    return regexp_replace(sqlstate || ' ' || sqlerrm, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g');
  end $$;

-- Does something to a new task, which is running, or has failed, while rows of its table, or of its run's, are kept.
create function pg_temp.probe(letter text, event text, verb text, told out text, seen out text, violations out bigint)
language plpgsql as $$
  declare run uuid; task uuid;
  begin
    select task_id, run_id into task, run from absurd.spawn_task('kept', 'x', '{"max_attempts": 2}');
    perform from absurd.claim_task('kept', 'w', 60, 1);
    if verb like '%retry%' then
      update absurd.t_kept set max_attempts = 1;
      perform absurd.fail_run('kept', run, '{}');
    end if;
    execute format('create trigger keep before %s on absurd.%s_kept for each row execute function pg_temp.keep()', event, letter);
    told := pg_temp.told(replace(replace(verb, '$run', run::text), '$task', task::text));
    seen := (select string_agg(state, ' ') from absurd.t_kept) || ': ' || (select string_agg(state, ' ' order by attempt) from absurd.r_kept);
    violations := (select count(*) from absurd.verify('kept'));
    execute format('drop trigger keep on absurd.%s_kept', letter);
    delete from absurd.t_kept; delete from absurd.r_kept; delete from absurd.w_kept;
  end $$;

select letter, split_part(verb, '(', 1) as verb, p.*
  from unnest(array['t', 'r']) letter,
       unnest(array[
         $$absurd.complete_run('kept', '$run')$$, $$absurd.complete_runs('kept', array['$run'::uuid])$$,
         $$absurd.fail_run('kept', '$run', '{}')$$, $$absurd.fail_runs('kept', array['$run'::uuid])$$,
         $$absurd.cancel_task('kept', '$task')$$, $$absurd.schedule_run('kept', '$run', 'infinity')$$,
         $$absurd.await_event('kept', '$task', '$run', 's', 'e', 60)$$, $$absurd.retry_task('kept', '$task')$$]) verb,
       pg_temp.probe(letter, 'update', 'select ' || verb) p
 order by 1, 2;
select letter, split_part(verb, '(', 1) as verb, p.told, p.violations
  from unnest(array['t', 'r']) letter,
       unnest(array[
         $$absurd.spawn_task('kept', 'y', '{}')$$, $$absurd.spawn_tasks('kept', '[{"task_name": "y"}]')$$,
         $$absurd.fail_run('kept', '$run', '{}')$$, $$absurd.retry_task('kept', '$task', '{"spawn_new": true}')$$]) verb,
       pg_temp.probe(letter, 'insert', 'select ' || verb) p
 order by 1, 2;
-- A cancellation that has come due is set aside.
create function pg_temp.due(letter text) returns table (error text, task text, run text, violations bigint) language plpgsql as $$
begin
  perform absurd.spawn_task('kept', 'x', '{}', '{"cancellation": {"max_duration": 10}}');
  perform from absurd.claim_task('kept', 'w', 0);
  execute format('create trigger keep before update on absurd.%s_kept for each row execute function pg_temp.keep()', letter);
  perform set_config('absurd.fake_now', (absurd.current_time() + interval '1 minute')::text, false);
  perform from absurd.claim_task('kept', 'w', 0);
  execute format('drop trigger keep on absurd.%s_kept', letter);
  return query select (select s.error ->> 'message' from absurd.stuck_work s), t.state, r.state, (select count(*) from absurd.verify('kept'))
    from absurd.t_kept t join absurd.r_kept r using (task_id);
  delete from absurd.t_kept; delete from absurd.r_kept; delete from absurd.stuck_work;
end $$;
select letter, d.* from unnest(array['t', 'r']) letter, pg_temp.due(letter) d;
-- A wait is over when its run, its task and the wait itself have changed, of one waiter and of two.
create function pg_temp.emitted(letter text, event text, waiters integer, told out text, seen out text, violations out bigint)
language plpgsql as $$
  declare task uuid; run uuid;
  begin
    for i in 1 .. waiters loop
      perform absurd.spawn_task('kept', 'x', '{}');
      select c.task_id, c.run_id into task, run from absurd.claim_task('kept', 'w', 60, 1) c;
      perform from absurd.await_event('kept', task, run, 's', 'e');
    end loop;
    execute format('create trigger keep before %s on absurd.%s_kept for each row execute function pg_temp.keep()', event, letter);
    told := pg_temp.told($t$select absurd.emit_event('kept', 'e', '1')$t$);
    execute format('drop trigger keep on absurd.%s_kept', letter);
    seen := (select string_agg(state, ' ') from absurd.r_kept) || ', waits ' || (select count(*) from absurd.w_kept)
      || ', events ' || (select count(*) from absurd.e_kept);
    violations := (select count(*) from absurd.verify('kept'));
    delete from absurd.t_kept; delete from absurd.r_kept; delete from absurd.w_kept; delete from absurd.e_kept; delete from absurd.c_kept;
  end $$;
select kind.*, e.* from (values ('t', 'update', 1), ('r', 'update', 1), ('w', 'delete', 1), ('t', 'update', 2), ('r', 'update', 2), ('w', 'delete', 2))
  kind (letter, event, waiters), pg_temp.emitted(letter, event, waiters) e;
-- A checkpoint is stored, and a lease longer, or an error says that they are not.
create function pg_temp.stored(letter text, event text, call text, told out text, seen out text) language plpgsql as $$
  declare run uuid; task uuid;
  begin
    select task_id, run_id into task, run from absurd.spawn_task('kept', 'x', '{}');
    perform from absurd.claim_task('kept', 'w', 60, 1);
    execute format('create trigger keep before %s on absurd.%s_kept for each row execute function pg_temp.keep()', event, letter);
    told := pg_temp.told(replace(replace(call, '$run', run::text), '$task', task::text));
    execute format('drop trigger keep on absurd.%s_kept', letter);
    seen := (select claim_expires_at - absurd.current_time() from absurd.r_kept) || ', checkpoints ' || (select count(*) from absurd.c_kept);
    delete from absurd.t_kept; delete from absurd.r_kept; delete from absurd.c_kept;
  end $$;
select split_part(kind.call, '(', 1) as verb, kind.letter, s.*
  from (values ('r', 'update', $$select absurd.set_task_checkpoint_state('kept', '$task', 's', '1', '$run', 600)$$),
               ('c', 'insert', $$select absurd.set_task_checkpoint_state('kept', '$task', 's', '1', '$run', 600)$$),
               ('r', 'update', $$select absurd.extend_claim('kept', '$run', 600)$$)) kind (letter, event, call),
       pg_temp.stored(letter, event, call) s;
-- Cleanup removes a task with all that is its, or nothing.
create function pg_temp.cleaned(letter text, told out text, seen out text) language plpgsql as $$
  declare run uuid; task uuid;
  begin
    select task_id, run_id into task, run from absurd.spawn_task('kept', 'x', '{}');
    perform from absurd.claim_task('kept', 'w', 60, 1);
    perform absurd.set_task_checkpoint_state('kept', task, 's', '1', run);
    perform absurd.complete_run('kept', run);
    perform set_config('absurd.fake_now', (absurd.current_time() + interval '1 minute')::text, false);
    execute format('create trigger keep before delete on absurd.%s_kept for each row execute function pg_temp.keep()', letter);
    told := pg_temp.told($t$select absurd.cleanup_tasks('kept', 1)$t$);
    execute format('drop trigger keep on absurd.%s_kept', letter);
    seen := format('tasks %s, runs %s, checkpoints %s', (select count(*) from absurd.t_kept), (select count(*) from absurd.r_kept),
                   (select count(*) from absurd.c_kept));
    told := told || ', then ' || absurd.cleanup_tasks('kept', 1);
  end $$;
select letter, c.* from unnest(array['t', 'r', 'c']) letter, pg_temp.cleaned(letter) c;
select absurd.drop_queue('kept');
