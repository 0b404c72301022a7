-- The registry of queues, and what the contract asks to be plain SQL. Runs before the functions.

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

-- Where the ready runs of a queue begin, once looking for them has become costly; see src/task/front.rs.
-- A hint that any backend can find anew, so neither the log nor a dump carries it.
create unlogged table absurd.queue_front (
    queue_name       text primary key,
    looked_at        timestamptz not null,
    whole_at         timestamptz not null,
    near_seconds     double precision not null,
    blocks           bigint not null,
    seconds          double precision not null,
    is_calm          boolean not null,
    is_overdue       boolean not null,
    sweep_froms      timestamptz[] not null,
    sweep_nexts      timestamptz[] not null,
    priorities       smallint[] not null,
    floors           timestamptz[] not null,
    froms            timestamptz[] not null,
    nexts            timestamptz[] not null,
    weeks            text[] not null,
    untils           timestamptz[] not null,
    stray_priorities smallint[] not null,
    stray_instants   timestamptz[] not null,
    stray_runs       uuid[] not null
) with (fillfactor = 10);

-- Instants before that front at which runs have been made ready; see src/queue/behind.rs.
create unlogged table absurd.queue_behind (
    queue_name   text not null,
    available_at timestamptz not null
);
create index queue_behind_queue on absurd.queue_behind (queue_name);

-- The queues' own tables are not members of the extension, so a dump carries them; the registry
-- is a member, and its rows must be asked for.
select pg_catalog.pg_extension_config_dump('absurd.queues', '');

-- The version of the SQL contract that clients compare with, not the extension's. A plain SQL
-- function, because tools of the contract replace it.
create function absurd.get_schema_version() returns text
    language sql immutable parallel safe
    as $$ select '0.5.1' $$;
