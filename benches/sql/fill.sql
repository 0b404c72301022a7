-- Procedures that fill the queues of a database that has schema absurd, whichever make it is of.

create schema bench;

-- Spawns p_count tasks of p_options, every second one with p_other instead when that is given, through
-- the functions that a client would call: a hundred at a time where there is spawn_tasks.
create procedure bench.fill(p_queue text, p_count int, p_options jsonb default '{}', p_other jsonb default null)
language plpgsql as $$
declare
    size constant int := 500;
    many constant boolean := to_regprocedure('absurd.spawn_tasks(text, jsonb)') is not null;
    tasks jsonb;
    done int := 0;
begin
    while done < p_count loop
        if many then
            select jsonb_agg(jsonb_build_object('task_name', 'task', 'params', '{"n": 1}'::jsonb, 'options',
                case when i % 2 = 0 then coalesce(p_other, p_options) else p_options end))
                into tasks from generate_series(1, least(size, p_count - done)) i;
            perform count(*) from absurd.spawn_tasks(p_queue, tasks);
        else
            for i in 1 .. least(size, p_count - done) loop
                perform absurd.spawn_task(p_queue, 'task', '{"n": 1}',
                    case when i % 2 = 0 then coalesce(p_other, p_options) else p_options end);
            end loop;
        end if;
        commit;
        done := done + size;
    end loop;
end $$;

-- Spawns, claims and completes p_count tasks.
create procedure bench.work(p_queue text, p_count int)
language plpgsql as $$
declare
    size constant int := 500;
    many constant boolean := to_regprocedure('absurd.complete_runs(text, uuid[], jsonb[])') is not null;
    done int := 0;
    runs uuid[];
    run uuid;
begin
    while done < p_count loop
        call bench.fill(p_queue, least(size, p_count - done));
        select array_agg(run_id) into runs
            from absurd.claim_task(p_queue, 'worker', 3600, least(size, p_count - done));
        if many then
            perform absurd.complete_runs(p_queue, runs, array_fill('{"ok": true}'::jsonb, array[cardinality(runs)]));
        else
            foreach run in array runs loop
                perform absurd.complete_run(p_queue, run, '{"ok": true}');
            end loop;
        end if;
        commit;
        done := done + size;
    end loop;
end $$;

-- The rows that the plpgsql engine's spawn_task leaves for p_count tasks, in state p_state, written
-- in two statements. Only for that engine, whose tables are known and whose own spawn would take
-- minutes; ids grow with time as its own do. A finished task ended p_age ago.
create procedure bench.fill_rows(p_queue text, p_count int, p_state text default 'pending',
    p_age interval default '0', p_cancellation jsonb default null)
language plpgsql as $$
begin
    drop table if exists pg_temp.made;
    create temporary table made as
        select i, at, bench.id(at) as task_id, bench.id(at) as run_id
            from generate_series(1, p_count) i,
                lateral (select now() - p_age - (p_count - i) * interval '1 microsecond' as at) one;
    execute format('insert into absurd.%I (task_id, task_name, params, cancellation, enqueue_at, first_started_at,
            state, attempts, last_attempt_run, completed_payload)
        select task_id, ''task'', ''{"n": 1}'', case when i %% 2 = 0 then $2 end, at,
            case when $1 = ''completed'' then at end, $1, 1, run_id,
            case when $1 = ''completed'' then ''{"ok": true}''::jsonb end from made', 't_' || p_queue)
        using p_state, p_cancellation;
    execute format('insert into absurd.%I (run_id, task_id, attempt, state, claimed_by, available_at, started_at,
            completed_at, result, created_at)
        select run_id, task_id, 1, $1, case when $1 = ''completed'' then ''worker'' end,
            case when $1 = ''sleeping'' then at + interval ''1 day'' else at end,
            case when $1 = ''completed'' then at end, case when $1 = ''completed'' then at end,
            case when $1 = ''completed'' then ''{"ok": true}''::jsonb end, at from made', 'r_' || p_queue)
        using p_state;
    drop table made;
end $$;

-- A UUID of version 7 for that instant.
create function bench.id(p_at timestamptz) returns uuid language sql volatile as $$
    select (lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0')
        || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;

-- Statistics and visibility of the tables of a queue, as autovacuum leaves them a minute after a load.
create function bench.tables_of(p_queue text) returns setof text language sql stable as $$
    select format('absurd.%I', relname) from pg_class
        where relnamespace = 'absurd'::regnamespace and relkind in ('r', 'p')
            and substr(relname, 3) = p_queue and substr(relname, 2, 1) = '_'
$$;
