-- What the specs share: loaded once into their database, in a schema of its own at the end of
-- search_path. Task n has the run n; the clock stands at noon; queue q is made by each spec.
\set ON_ERROR_STOP on
create schema helpers;
set search_path = helpers;
set check_function_bodies = off;

create function task(n int) returns uuid immutable language sql as
  $$ select ('00000000-0000-7000-8000-0000000a000' || n)::uuid $$;
create function run(n int) returns uuid immutable language sql as
  $$ select ('00000000-0000-7000-8000-0000000b000' || n)::uuid $$;
create function noon() returns timestamptz immutable language sql as
  $$ select timestamptz '2030-01-01 12:00:00+00' $$;
-- A task in a state, with its first run; a sleeping one waits for event e.
create function given(n int, s text) returns void language sql as $$
  insert into absurd.t_q (task_id, task_name, params, state, attempts, last_attempt_run,
                          max_attempts, enqueue_at, first_started_at)
  values (task(n), 'task ' || n, 'null', s, 1, run(n), case s when 'failed' then 1 end,
          noon() - interval '1 minute', case when s <> 'pending' then noon() end);
  insert into absurd.r_q (run_id, task_id, attempt, state, available_at, claim_expires_at,
                          wake_event, failed_at)
  values (run(n), task(n), 1, s,
          case s when 'sleeping' then 'infinity' else noon() - make_interval(secs => 10 - n) end,
          case s when 'running' then noon() + make_interval(secs => 30 + n) end,
          case s when 'sleeping' then 'e' end, case s when 'failed' then noon() end);
  insert into absurd.w_q (task_id, run_id, step_name, event_name)
  select task(n), run(n), 'step', 'e' where s = 'sleeping' $$;
-- What a call answers, or the error that it is told.
create function tell(call text) returns text language plpgsql as $$
  declare answer text;
  begin
    execute 'select ' || call into answer;
    return coalesce(nullif(answer, ''), 'done');
  exception when others then
    return sqlstate || ': ' || sqlerrm;
  end $$;
-- Every task with its runs, the number of its waits and its checkpoints.
create function seen() returns table (task text, state text, attempts int, runs text, waits bigint,
                                      checkpoints text) language sql as $$
  select task_name, state, attempts,
         (select string_agg(r.state || coalesce(' ' || r.event_payload::text, ''), ', ' order by attempt)
            from absurd.r_q r where r.task_id = t.task_id),
         (select count(*) from absurd.w_q w where w.task_id = t.task_id),
         (select string_agg(checkpoint_name || '=' || c.state::text, ', ' order by checkpoint_name)
            from absurd.c_q c where c.task_id = t.task_id)
    from absurd.t_q t
   order by task_name, attempts, state $$;
