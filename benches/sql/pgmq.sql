-- The loops on pgmq, as those on schema absurd.

create schema bench;

create procedure bench.life(p_queue text, p_lives int)
language plpgsql as $$
declare id bigint;
begin
    for i in 1 .. p_lives loop
        perform pgmq.send(p_queue, '{"n": 1}'::jsonb);
        commit;
        select msg_id into strict id from pgmq.read(p_queue, 600, 1);
        commit;
        perform pgmq.archive(p_queue, id);
        commit;
    end loop;
end $$;

create procedure bench.fill(p_queue text, p_count int)
language plpgsql as $$
declare done int := 0;
begin
    while done < p_count loop
        perform pgmq.send_batch(p_queue, array_fill('{"n": 1}'::jsonb, array[least(1000, p_count - done)]));
        commit;
        done := done + 1000;
    end loop;
end $$;

create procedure bench.claim(p_queue text, p_calls int, p_qty int, p_top_up boolean, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; got int;
begin
    p_us := '{}';
    for i in 1 .. p_calls loop
        began := clock_timestamp();
        select count(*) into got from pgmq.read(p_queue, 3600, p_qty);
        ended := clock_timestamp();
        assert got = p_qty, 'read ' || got;
        p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6 / p_qty);
        commit;
    end loop;
end $$;
