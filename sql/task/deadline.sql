case
    when first_started_at is not null then
        case when jsonb_typeof(cancellation -> 'max_duration') = 'number'
                  and cancellation ->> 'max_duration' ~ '^[0-9]{1,9}$'
             then timezone('UTC', first_started_at) + make_interval(
                      secs => (cancellation ->> 'max_duration')::double precision)
        end
    -- A revived task has started before, if not since.
    when attempts <= 1 then
        case when jsonb_typeof(cancellation -> 'max_delay') = 'number'
                  and cancellation ->> 'max_delay' ~ '^[0-9]{1,9}$'
             then timezone('UTC', enqueue_at) + make_interval(
                      secs => (cancellation ->> 'max_delay')::double precision)
        end
end
