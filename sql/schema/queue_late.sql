-- Due times before the watermarks of a queue at which runs have been made ready; see
-- src/queue/behind.rs.
create unlogged table absurd.queue_late (
    queue_name   text not null,
    available_at timestamptz not null
);

create index queue_late_queue on absurd.queue_late (queue_name);

comment on table absurd.queue_late is
    'Due times of late runs: those made ready before the watermarks of a queue (absurd.queue_watermark) since a claim last scanned; the next scan takes them. May be emptied at any time.';
comment on column absurd.queue_late.queue_name is 'Name of the queue.';
comment on column absurd.queue_late.available_at is 'The due time.';
