case
    when t.cancellation is null or t.state in ('completed', 'failed', 'cancelled') then null
    when t.first_started_at is not null then
        case when jsonb_typeof(t.cancellation -> 'max_duration') = 'number'
                  and t.cancellation ->> 'max_duration' ~ '^[0-9]{1,9}$'
             then t.first_started_at + make_interval(
                      secs => (t.cancellation ->> 'max_duration')::double precision)
        end
    -- A revived task has started before, if not since.
    when t.attempts <= 1 then
        case when jsonb_typeof(t.cancellation -> 'max_delay') = 'number'
                  and t.cancellation ->> 'max_delay' ~ '^[0-9]{1,9}$'
             then t.enqueue_at + make_interval(
                      secs => (t.cancellation ->> 'max_delay')::double precision)
        end
end
