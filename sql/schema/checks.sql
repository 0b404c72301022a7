-- What must hold before anything is made, and what the contract asks to be plain SQL.

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

-- The version of the SQL contract that clients compare with, not the extension's. A plain SQL
-- function, because tools of the contract replace it.
create function absurd.get_schema_version() returns text
    language sql immutable parallel safe
    as $$ select '0.5.1' $$;
