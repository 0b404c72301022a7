-- One procedure a verb: it calls the verb p_calls times on a queue, each call a transaction, and hands
-- back the microseconds of each. What a call needs (a claimed run, a backlog) is made outside its time.

create procedure bench.spawn(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; id uuid;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        select task_id into id from absurd.spawn_task(p_queue, 'task', '{"n": 1}', '{"max_attempts": 3}');
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

-- Microseconds a task.
create procedure bench.spawn_many(p_queue text, p_calls int, p_size int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; made int; tasks jsonb;
begin
    p_us := '{}';
    select jsonb_agg('{"task_name": "task", "params": {"n": 1}, "options": {"max_attempts": 3}}'::jsonb)
        into tasks from generate_series(1, p_size);
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        select count(*) into made from absurd.spawn_tasks(p_queue, tasks);
        ended := clock_timestamp();
        assert made = p_size, 'spawn_tasks made ' || made;
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6 / p_size);
        commit;
    end loop;
end $$;

-- Microseconds a run. The backlog is topped up after each call when p_top_up says so.
create procedure bench.claim(p_queue text, p_calls int, p_qty int, p_top_up boolean, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; got int;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        select count(*) into got from absurd.claim_task(p_queue, 'worker', 3600, p_qty);
        ended := clock_timestamp();
        assert got = p_qty, 'claimed ' || got;
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6 / p_qty);
        commit;
        if p_top_up then
            call bench.fill(p_queue, p_qty);
        end if;
    end loop;
end $$;

-- Microseconds of claims of one, one from each of the queues in turn.
create procedure bench.claim_in_turn(p_queues text[], p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; got int; queue text;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        foreach queue in array p_queues loop
            began := clock_timestamp();
            select count(*) into got from absurd.claim_task(queue, 'worker', 3600, 1);
            ended := clock_timestamp();
            assert got = 1, 'claimed ' || got;
            p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
            commit;
        end loop;
    end loop;
end $$;

create procedure bench.checkpoint(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; run uuid; task uuid;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        if i % 5 = 1 then
            select run_id, task_id into strict run, task from absurd.claim_task(p_queue, 'worker', 3600, 1);
            commit;
        end if;
        began := clock_timestamp();
        perform absurd.set_task_checkpoint_state(p_queue, task, 'step-' || i, '{"done": true}', run, 600);
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

create procedure bench.extend(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; run uuid;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        if i % 5 = 1 then
            select run_id into strict run from absurd.claim_task(p_queue, 'worker', 3600, 1);
            commit;
        end if;
        began := clock_timestamp();
        perform absurd.extend_claim(p_queue, run, 600);
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

create procedure bench.complete(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; run uuid;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        select run_id into strict run from absurd.claim_task(p_queue, 'worker', 3600, 1);
        commit;
        began := clock_timestamp();
        perform absurd.complete_run(p_queue, run, '{"ok": true}');
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

-- Microseconds a run.
create procedure bench.complete_many(p_queue text, p_calls int, p_size int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; runs uuid[]; states jsonb[];
begin
    p_us := '{}';
    states := array_fill('{"ok": true}'::jsonb, array[p_size]);
    for i in 1 .. p_calls loop
        call bench.fill(p_queue, p_size);
        select array_agg(run_id) into runs from absurd.claim_task(p_queue, 'worker', 3600, p_size);
        assert cardinality(runs) = p_size;
        commit;
        began := clock_timestamp();
        perform absurd.complete_runs(p_queue, runs, states);
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6 / p_size);
        commit;
    end loop;
end $$;

-- Fails runs whose task has attempts left, so that each call makes the run of the next attempt, an
-- hour from now.
create procedure bench.fail(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; run uuid;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        select run_id into strict run from absurd.claim_task(p_queue, 'worker', 3600, 1);
        commit;
        began := clock_timestamp();
        perform absurd.fail_run(p_queue, run, '{"name": "Error", "message": "no"}', now() + interval '1 hour');
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

-- Puts runs to sleep, each upon an event of its own.
create procedure bench.await(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; run uuid; task uuid; asleep boolean;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        select run_id, task_id into strict run, task from absurd.claim_task(p_queue, 'worker', 3600, 1);
        commit;
        began := clock_timestamp();
        select should_suspend into asleep from absurd.await_event(p_queue, task, run, 'wait', 'event-' || i, 3600);
        ended := clock_timestamp();
        assert asleep;
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

-- Emits the events that bench.await left runs waiting for: each wakes one.
create procedure bench.emit(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        perform absurd.emit_event(p_queue, 'event-' || i, '{"ok": true}');
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;

create procedure bench.create_again(p_queue text, p_calls int, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        perform absurd.create_queue(p_queue);
        ended := clock_timestamp();
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;
