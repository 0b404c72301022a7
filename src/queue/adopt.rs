//! Taking over tables that another role has made under a queue's names.

use super::provision::StorageMode;
use super::{QueueName, name, script};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::{Session, lock, rights, shape};

/// Everything of some tables of schema `absurd` that may run code of who made them, or hide rows:
/// what the engine does not make, or what depends on more than Postgres and the extension bring
/// along.
static STRANGE: Statement = Statement::new(
    "with own as (
        select c.oid, c.relname, c.relhassubclass, c.relkind
          from pg_catalog.pg_class c
         where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relname = any ($1)
     ), known as (
        -- What belongs to the extension may be called.
        select d.classid, d.objid
          from pg_catalog.pg_depend d
          join pg_catalog.pg_extension x on x.oid = d.refobjid and x.extname = 'absurd'
         where d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'
     ), foreigners as (
        -- Dependencies on what Postgres brings along are not stored.
        select d.classid, d.objid
          from pg_catalog.pg_depend d
         where d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass,
                                'pg_catalog.pg_operator'::pg_catalog.regclass,
                                'pg_catalog.pg_type'::pg_catalog.regclass,
                                'pg_catalog.pg_opclass'::pg_catalog.regclass,
                                'pg_catalog.pg_collation'::pg_catalog.regclass)
           and (d.refclassid, d.refobjid) not in (select classid, objid from known)
     )
     select format('trigger %s on %s', g.tgname, own.relname)
       from own join pg_catalog.pg_trigger g on g.tgrelid = own.oid
       join pg_catalog.pg_proc p on p.oid = g.tgfoid
      where not g.tgisinternal
        and ('pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.oid)
            not in (select classid, objid from known)
     union all
     select format('rule %s on %s', w.rulename, own.relname)
       from own join pg_catalog.pg_rewrite w on w.ev_class = own.oid
     union all
     select format('policy %s on %s', p.polname, own.relname)
       from own join pg_catalog.pg_policy p on p.polrelid = own.oid
     union all
     select format('statistics %s on %s', s.stxname, own.relname)
       from own join pg_catalog.pg_statistic_ext s on s.stxrelid = own.oid
     union all
     select format('partition key of %s', own.relname)
       from own join pg_catalog.pg_partitioned_table k on k.partrelid = own.oid
      where k.partexprs is not null
         or exists (select from pg_catalog.unnest(k.partclass) c (oid) where c.oid >= 16384)
     union all
     -- Functions of Postgres's own are not stored as dependencies, and some run any SQL.
     select format('expression of %s: %s', e.relname, e.expression)
       from (select own.relname, pg_catalog.pg_get_constraintdef(k.oid) as expression
               from own join pg_catalog.pg_constraint k on k.conrelid = own.oid and k.contype = 'c'
              union all
             select own.relname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
               from own join pg_catalog.pg_attrdef d on d.adrelid = own.oid) e,
            pg_catalog.regexp_replace(e.expression, '''([^'']|'''')*''', '', 'g') bare
      where exists (
            select from pg_catalog.regexp_matches(bare, '([A-Za-z0-9_.\"]+)[ ]*[(]', 'g') m (found)
             where m.found[1] not in (
                   'CHECK', 'AND', 'OR', 'NOT', 'ANY', 'ALL', 'IN', 'timestamp', 'time', 'numeric',
                   'character', 'varying', 'clock_timestamp', 'now', 'statement_timestamp',
                   'transaction_timestamp', 'absurd.\"current_time\"', 'absurd.portable_uuidv7'))
     union all
     select format('foreign key %s of %s', k.conname, own.relname)
       from own join pg_catalog.pg_constraint k on k.conrelid = own.oid and k.contype = 'f'
     union all
     select format('constraint %s of %s', k.conname, own.relname)
       from own join pg_catalog.pg_constraint k on k.conrelid = own.oid
       join foreigners f
         on f.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and f.objid = k.oid
     union all
     select format('default of column %s of %s', a.attname, own.relname)
       from own join pg_catalog.pg_attrdef e on e.adrelid = own.oid
       join pg_catalog.pg_attribute a on a.attrelid = own.oid and a.attnum = e.adnum
       join foreigners f
         on f.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and f.objid = e.oid
     union all
     select format('index %s on %s', c.relname, own.relname)
       from own join pg_catalog.pg_index i on i.indrelid = own.oid
       join pg_catalog.pg_class c on c.oid = i.indexrelid
       join foreigners f
         on f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and f.objid = i.indexrelid
     union all
     select format('column %s of %s', a.attname, own.relname)
       from own join pg_catalog.pg_attribute a on a.attrelid = own.oid and a.attnum > 0
       join pg_catalog.pg_type t on t.oid = a.atttypid
      where t.oid >= 16384 or t.typtype = 'd'
     union all
     select format('child %s of %s', c.relname, own.relname)
       from own join pg_catalog.pg_inherits i on i.inhparent = own.oid
       join pg_catalog.pg_class c on c.oid = i.inhrelid
      where not c.relispartition or c.relkind <> 'r'
         or c.relnamespace <> 'absurd'::pg_catalog.regnamespace
     union all
     select format('%s is no table', own.relname) from own where own.relkind not in ('r', 'p')
      order by 1",
);
/// The tables of a queue, with their partitions.
static TABLES: Statement = Statement::new(
    "select c.relname::pg_catalog.text
       from pg_catalog.pg_class c
      where c.relnamespace = 'absurd'::pg_catalog.regnamespace
        and (c.relname = any ($1)
             or exists (select from pg_catalog.pg_inherits i
                          join pg_catalog.pg_class whole on whole.oid = i.inhparent
                         where i.inhrelid = c.oid and whole.relname = any ($1)
                           and whole.relnamespace = c.relnamespace))
      order by 1",
);

/// Who else than the owner has rights on a table, or on a column of it, as REVOKE names them.
static GRANTEES: Statement = Statement::new(
    "select distinct case g.grantee when 0 then 'public'
                     else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end
       from pg_catalog.pg_class c,
            lateral (select c.relacl
                      union all
                     select a.attacl from pg_catalog.pg_attribute a where a.attrelid = c.oid) l (acl),
            lateral pg_catalog.aclexplode(l.acl) g
      where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relname = $1
        and g.grantee <> c.relowner",
);

/// Makes the extension's owner the owner of the tables that have a queue's names, partitions
/// included.
///
/// # Errors
/// 42501 for who is no superuser, 42P01 when there is no such table, 55000 listing what of the
/// tables the engine does not know: triggers, rules, policies, defaults, constraints and indexes
/// that call others' code.
pub fn run(session: &Session, queue: &QueueName) -> Result<()> {
    if !rights::is_superuser()? {
        return Err(Error::NotSuperuser { what: "take over tables" });
    }
    lock::provisioning()?;
    let names: Vec<String> = script::prefixes(StorageMode::Partitioned)
        .iter()
        .map(|prefix| queue.relation(prefix, ""))
        .collect();
    let tables = session
        .run(&TABLES, &Global, params![names])?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<Vec<String>>>()?;
    if tables.is_empty() {
        return Err(Error::NoSuchRelation {
            relation: format!("absurd.{}", queue.relation("t", "")),
            queue: queue.as_str().to_owned(),
        });
    }
    // First nobody can add to them any more: only their owner could.
    let owner = name::quote(&rights::name_of(shape::owner()?)?);
    for table in &tables {
        let quoted = name::quote(table);
        session.run_once(&format!("alter table absurd.{quoted} owner to {owner}"), &[])?;
        for grantee in session.run(&GRANTEES, &Global, params![table.as_str()])? {
            let grantee: String = grantee.need(0)?;
            let sql = format!("revoke all on absurd.{quoted} from {grantee} cascade");
            session.run_once(&sql, &[])?;
        }
    }
    let strange = session
        .run(&STRANGE, &Global, params![tables])?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<Vec<String>>>()?;
    if strange.is_empty() {
        return Ok(());
    }
    Err(Error::StrangeParts { queue: queue.as_str().to_owned(), parts: strange })
}
