-- The registry of queues, and what the contract asks to be plain SQL. Runs before the functions.

-- Text travels through the library as UTF-8. And whoever owns the schema, or may add to it, could
-- put functions there that take the calls of everybody.
do $$
declare
    stranger text;
begin
    if pg_catalog.getdatabaseencoding() operator(pg_catalog.<>) 'UTF8' then
        raise exception using errcode = 'feature_not_supported',
            message = pg_catalog.format('extension absurd needs a database with encoding UTF8, not %s',
                                        pg_catalog.getdatabaseencoding()),
            detail = 'Its functions take and give text as UTF-8.',
            hint = 'Create a database with encoding UTF8 and install the extension there.';
    end if;
    select coalesce(r.rolname, 'public') into stranger
      from pg_catalog.pg_namespace n
     cross join lateral (
            select n.nspowner
            union all
            select a.grantee
              from pg_catalog.aclexplode(n.nspacl) a
             where a.privilege_type operator(pg_catalog.=) 'CREATE') as maker (id)
      left join pg_catalog.pg_roles r on r.oid operator(pg_catalog.=) maker.id
     where n.nspname operator(pg_catalog.=) 'absurd'
       and r.rolsuper is not true and r.rolname is distinct from current_user
     limit 1;
    if found then
        raise exception using errcode = 'object_not_in_prerequisite_state',
            message = pg_catalog.format('role %I owns schema absurd or may create objects in it', stranger),
            detail = 'Such a role could put functions there that take the calls of everybody.',
            hint = 'Hand the schema to a superuser and revoke CREATE on it, or drop it.';
    end if;
    select p.proname into stranger
      from pg_catalog.pg_proc p
     where p.pronamespace operator(pg_catalog.=) 'absurd'::pg_catalog.regnamespace
     union all
    select t.typname
      from pg_catalog.pg_type t
      left join pg_catalog.pg_type e on e.typarray operator(pg_catalog.=) t.oid
      left join pg_catalog.pg_class c
             on c.oid operator(pg_catalog.=) coalesce(nullif(t.typrelid, 0), e.typrelid)
     where t.typnamespace operator(pg_catalog.=) 'absurd'::pg_catalog.regnamespace
       -- The row types of tables, which a dump makes before the extension, and of views.
       and coalesce(c.relkind, 'c') operator(pg_catalog.=) 'c'
     limit 1;
    if found then
        raise exception using errcode = 'object_not_in_prerequisite_state',
            message = pg_catalog.format('schema absurd holds the function or type %I', stranger),
            hint = 'Drop it, or move it to another schema.';
    end if;
end $$;

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

-- Where the ready runs of a queue begin, once looking for them has become costly; see
-- src/task/front.rs. A hint that any backend can find anew, so neither the log nor a dump carries
-- it.
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

-- Who has which access, for queues that are made later; see src/queue/grants.rs. A role's id, so
-- that a role made anew under its name inherits nothing, and so that a missing role does not stop a
-- restore.
create table absurd.queue_access (
    role_id    oid not null,
    role_name  text not null,
    system_id  bigint not null,
    access     text not null
        constraint queue_access_access_check
        check (access in ('producer', 'worker', 'viewer', 'admin')),
    queue_name text
);
create unique index queue_access_key
    on absurd.queue_access (role_id, access, (coalesce(queue_name, '')));
-- Its key is an expression, which a publication of all tables cannot use.
alter table absurd.queue_access replica identity full;

-- The queues' own tables are not members of the extension, so a dump carries them; the registry
-- is a member, and its rows must be asked for.
select pg_catalog.pg_extension_config_dump('absurd.queues', '');
select pg_catalog.pg_extension_config_dump('absurd.queue_access', '');

-- The version of the SQL contract that clients compare with, not the extension's. A plain SQL
-- function, because tools of the contract replace it.
create function absurd.get_schema_version() returns text
    language sql immutable parallel safe
    as $$ select '0.5.1' $$;
