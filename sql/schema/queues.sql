-- The registry of queues.
create table absurd.queues (
    queue_name          text primary key,
    created_at          timestamptz not null default clock_timestamp(),
    storage_mode        text not null default 'unpartitioned'
        constraint queues_storage_mode_check check (storage_mode in ('unpartitioned', 'partitioned')),
    default_partition   text not null default 'enabled'
        constraint queues_default_partition_check check (default_partition in ('enabled', 'disabled')),
    partition_lookahead interval not null default '28 days'
        constraint queues_partition_lookahead_check check (partition_lookahead >= '0'),
    partition_lookback  interval not null default '1 day'
        constraint queues_partition_lookback_check check (partition_lookback >= '0'),
    cleanup_ttl         interval not null default '30 days'
        constraint queues_cleanup_ttl_check check (cleanup_ttl >= '0'),
    cleanup_limit       integer not null default 1000
        constraint queues_cleanup_limit_check check (cleanup_limit >= 1),
    detach_mode         text not null default 'none'
        constraint queues_detach_mode_check check (detach_mode in ('none', 'empty')),
    detach_min_age      interval not null default '30 days'
        constraint queues_detach_min_age_check check (detach_min_age >= '0'),
    notify              boolean not null default false
);

-- Backends remember which queues want notifications until they are told of a change.
create trigger queues_changed
    after update of notify or delete on absurd.queues
    for each statement execute function absurd.queues_changed();
revoke execute on function absurd.queues_changed() from public;

-- The queues' own tables are not members of the extension, so a dump carries them; the registry
-- is a member, and its rows must be asked for.
select pg_catalog.pg_extension_config_dump('absurd.queues', '');

comment on table absurd.queues is
    'One row per queue, with its policy. Written by create_queue, set_queue_policy and drop_queue.';
comment on column absurd.queues.queue_name is 'Name of the queue, 1 to 57 bytes; its tables are t_, r_, c_, e_, w_ and, when partitioned, i_ with this name.';
comment on column absurd.queues.created_at is 'When the queue was created.';
comment on column absurd.queues.storage_mode is 'unpartitioned or partitioned.';
comment on column absurd.queues.default_partition is 'Whether a partitioned queue has default partitions: enabled or disabled.';
comment on column absurd.queues.partition_lookahead is 'How far ahead of now weekly partitions are made.';
comment on column absurd.queues.partition_lookback is 'How far back from now weekly partitions are made.';
comment on column absurd.queues.cleanup_ttl is 'How long ended tasks and emitted events are kept.';
comment on column absurd.queues.cleanup_limit is 'How many tasks, and how many events, one cleanup removes at most.';
comment on column absurd.queues.detach_mode is 'Which old partitions may be detached: none or empty.';
comment on column absurd.queues.detach_min_age is 'How long ago a partition''s week must have ended before it may be detached.';
comment on column absurd.queues.notify is 'Whether work that becomes ready is announced on channel absurd, with the queue''s name.';
