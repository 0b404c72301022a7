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

select pg_catalog.pg_extension_config_dump('absurd.queue_access', '');

comment on table absurd.queue_access is
    'Which roles have been given which access by grant_access(), so that queues made later are theirs too.';
comment on column absurd.queue_access.role_id is 'Id of the role.';
comment on column absurd.queue_access.role_name is 'What the role was called then.';
comment on column absurd.queue_access.system_id is 'The cluster that the id is of.';
comment on column absurd.queue_access.access is 'producer, worker, viewer or admin.';
comment on column absurd.queue_access.queue_name is 'Queue, null for every one.';
