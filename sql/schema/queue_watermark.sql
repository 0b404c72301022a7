-- Where the ready runs of a queue begin, once scanning for them has become costly; see
-- src/task/front/. A hint that any backend can find anew, so neither the log nor a dump carries it.
create unlogged table absurd.queue_watermark (
    queue_name        text primary key,
    scanned_at        timestamptz not null,
    fully_scanned_at  timestamptz not null,
    scan_seconds      double precision not null,
    full_scan_blocks  bigint not null,
    full_scan_seconds double precision not null,
    is_bypassed       boolean not null,
    is_overdue        boolean not null,
    sweeps_confirmed  timestamptz[] not null,
    sweep_candidates  timestamptz[] not null,
    priorities        smallint[] not null,
    low_watermarks    timestamptz[] not null,
    confirmed         timestamptz[] not null,
    candidates        timestamptz[] not null,
    weeks             text[] not null,
    weeks_until       timestamptz[] not null,
    late_priorities   smallint[] not null,
    late_due_times    timestamptz[] not null,
    late_runs         uuid[] not null
) with (fillfactor = 10);

comment on table absurd.queue_watermark is
    'Where the ready runs of a queue begin, when it has many weeks, or when an old snapshot keeps the index entries of claimed runs in front. Written by claims, about once a second; may be emptied at any time.';
comment on column absurd.queue_watermark.queue_name is 'Name of the queue.';
comment on column absurd.queue_watermark.scanned_at is 'When a claim last scanned what may have changed.';
comment on column absurd.queue_watermark.fully_scanned_at is 'When a claim last scanned everything.';
comment on column absurd.queue_watermark.scan_seconds is 'Seconds that the scan of what may have changed took; 0 where there were full scans alone.';
comment on column absurd.queue_watermark.full_scan_blocks is 'Blocks of tables and indexes that the last full scan took.';
comment on column absurd.queue_watermark.full_scan_seconds is 'Seconds that the last full scan took.';
comment on column absurd.queue_watermark.is_bypassed is 'Whether scanning costs no more than with any other queue, so that claims do not rely on this row.';
comment on column absurd.queue_watermark.is_overdue is 'Whether a lease, an attempt or a cancellation rule was overdue.';
comment on column absurd.queue_watermark.sweeps_confirmed is 'Of cancellation rules, leases and attempts: the time before which none is overdue.';
comment on column absurd.queue_watermark.sweep_candidates is 'Of each of these, the time that the next scan may confirm.';
comment on column absurd.queue_watermark.priorities is 'Priorities in which runs may be ready, highest first.';
comment on column absurd.queue_watermark.low_watermarks is 'Of each of these, the due time at which claims begin.';
comment on column absurd.queue_watermark.confirmed is 'Of each, the due time at which the next scan begins: before it are late runs alone.';
comment on column absurd.queue_watermark.candidates is 'Of each, the due time at which the scan after that will begin.';
comment on column absurd.queue_watermark.weeks is 'Of each, the tag of the week whose runs come first, in a partitioned queue.';
comment on column absurd.queue_watermark.weeks_until is 'Of each, the due time from which on runs of other weeks may come first.';
comment on column absurd.queue_watermark.late_priorities is 'Priorities of late runs: those before the watermarks, whose transaction has not ended or which somebody holds.';
comment on column absurd.queue_watermark.late_due_times is 'When each of these became due.';
comment on column absurd.queue_watermark.late_runs is 'Their ids.';
