-- PgQ hands out batches: a claim here is the batch of a tick, and what is timed is finding it and
-- reading one event of it.

create schema bench;

create procedure bench.fill(p_queue text, p_count int)
language plpgsql as $$
declare size constant int := 50; done int := 0;
begin
    while done < p_count loop
        perform pgq.insert_event(p_queue, 'task', '{"n": 1}') from generate_series(1, least(size, p_count - done));
        commit;
        perform pgq.ticker(p_queue);
        commit;
        done := done + size;
    end loop;
end $$;

create procedure bench.claim(p_queue text, p_calls int, p_qty int, p_top_up boolean, inout p_us float8[])
language plpgsql as $$
declare began timestamptz; ended timestamptz; batch bigint; event bigint;
begin
    p_us := '{}';
    while cardinality(p_us) < p_calls loop
        began := clock_timestamp();
        batch := pgq.next_batch(p_queue, 'worker');
        commit;
        if batch is null then
            return;
        end if;
        select ev_id into event from pgq.get_batch_cursor(batch, 'one', p_qty);
        ended := clock_timestamp();
        commit;
        if event is not null then
            p_us := array_append(p_us, extract(epoch from ended - began)::float8 * 1e6);
        end if;
        perform pgq.finish_batch(batch);
        commit;
    end loop;
end $$;

-- Works everything there is, an acknowledgement a batch, and says how many events that was.
create procedure bench.drain(p_queue text, inout p_events int)
language plpgsql as $$
declare batch bigint; got int;
begin
    p_events := 0;
    loop
        batch := pgq.next_batch(p_queue, 'worker');
        commit;
        exit when batch is null;
        select count(*) into got from pgq.get_batch_events(batch);
        p_events := p_events + got;
        perform pgq.finish_batch(batch);
        commit;
    end loop;
end $$;
