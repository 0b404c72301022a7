-- A document of a megabyte through a queue, and through a plain table.

create table bench.plain (id int primary key, doc jsonb not null);

create function bench.document(p_bytes int) returns jsonb language sql volatile as $$
    select jsonb_build_object('items', jsonb_agg(md5(i::text || random()))) from generate_series(1, p_bytes / 36) i
$$;

-- Microseconds of a spawn and a claim, and of an insert and a select. jsonb_typeof reads what came
-- back, which until then may be a mere reference to the stored value.
create procedure bench.payload(p_queue text, p_calls int, p_bytes int, inout p_task_us float8[], inout p_plain_us float8[])
language plpgsql as $$
declare
    began timestamptz; ended timestamptz; kind text; sent jsonb; got jsonb;
begin
    p_task_us := '{}';
    p_plain_us := '{}';
    for i in 1 .. p_calls loop
        sent := bench.document(p_bytes);
        began := clock_timestamp();
        perform absurd.spawn_task(p_queue, 'task', sent);
        commit;
        select params into strict got from absurd.claim_task(p_queue, 'worker', 3600, 1);
        kind := jsonb_typeof(got);
        commit;
        ended := clock_timestamp();
        p_task_us := array_append(p_task_us, extract(epoch from ended - began)::float8 * 1e6);

        began := clock_timestamp();
        insert into bench.plain values (i, sent);
        commit;
        select doc into strict got from bench.plain where id = i;
        kind := jsonb_typeof(got);
        commit;
        ended := clock_timestamp();
        p_plain_us := array_append(p_plain_us, extract(epoch from ended - began)::float8 * 1e6);
    end loop;
    truncate bench.plain;
end $$;
