-- The claim of procrastinate, by the function that its workers call.

create schema bench;

create procedure bench.fill(p_queue text, p_count int)
language plpgsql as $$
begin
    insert into procrastinate_jobs (queue_name, task_name, priority, args, scheduled_at, status, attempts)
        select p_queue, 'work', 0, '{"n": 1}', null, 'todo', 0 from generate_series(1, p_count);
    commit;
end $$;

create procedure bench.claim(p_queue text, p_calls int, p_qty int, p_top_up boolean, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; job bigint; worker bigint;
begin
    p_us := '{}';
    select worker_id into strict worker from procrastinate_register_worker_v1();
    commit;
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        select id into job from procrastinate_fetch_job_v2(array[p_queue]::varchar[], worker);
        ended := clock_timestamp();
        assert job is not null;
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        commit;
    end loop;
end $$;
