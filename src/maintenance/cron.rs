//! Jobs of pg_cron that keep queues in order.
//!
//! pg_cron counts as present when its table and its two functions are: other schedulers offer the
//! same three. Jobs are named after what they are for, so that each can be found again: a scope is
//! `all`, or the first twelve hex digits of the MD5 of a queue's name.

use super::partitions::{self, Candidate};
use crate::error::{Error, Result, literal};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::row::Rows;
use crate::pg::{Session, rights};
use crate::queue::{QueueName, name, policy};

/// A job as enable_cron and disable_cron return it.
pub struct Job {
    pub name: String,
    pub id: i64,
}

/// A job of a detach pipeline.
pub struct PipelineJob {
    pub job: Job,
    pub queue: String,
    pub partition: String,
    /// `detach` or `drop`.
    pub kind: &'static str,
}

/// The schedules of enable_cron, in cron's own notation.
pub struct Schedules<'a> {
    pub partitions: &'a str,
    pub cleanup: &'a str,
    pub detach: &'a str,
}

const DETACH: &str = "absurd_detach_run_";
const DROP: &str = "absurd_drop_run_";
/// What the jobs of a queue, or of all, do.
const QUEUE_JOBS: [&str; 3] = ["partitions", "cleanup", "detach_plan"];
const SCHEDULES: &str = "schedules";
const RUN_SCHEDULES: &str = "select absurd.run_schedules();";
/// A pipeline looks every minute whether it can go on; schedules come due by the minute.
const EVERY_MINUTE: &str = "* * * * *";

/// What there is of pg_cron.
#[derive(PartialEq)]
enum Cron {
    /// This part is missing.
    Missing(&'static str),
    /// This role could have its own code called in the place of pg_cron's.
    Strange(String),
    /// There, but not for this role, which therefore has no jobs.
    NotOurs,
    Ours,
}

/// Looks for the schema by its name. What is called there runs with the caller's rights, so it must
/// belong to a superuser or to the caller, who are also the only ones that may add to it.
fn look(session: &Session) -> Result<Cron> {
    static LOOK: Statement = Statement::new(
        "with schema as (
            select n.oid, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
              from pg_catalog.pg_namespace n
             where n.nspname = 'cron'
         ), makers as (
            select nspowner as role from schema
            union all
            select a.grantee from schema, aclexplode(schema.acl) a
             where a.privilege_type = 'CREATE'
            union all
            select c.relowner from schema join pg_catalog.pg_class c on c.relnamespace = schema.oid
             where c.relname = 'job'
            union all
            select p.proowner from schema join pg_catalog.pg_proc p on p.pronamespace = schema.oid
             where p.proname in ('schedule', 'unschedule')
         )
         select (select count(*) from pg_catalog.pg_class c
                  where c.relnamespace = schema.oid and c.relname = 'job'),
                (select count(*) from pg_catalog.pg_proc p
                  where p.pronamespace = schema.oid and p.proname = 'schedule'
                    and p.pronargs >= 3),
                (select count(*) from pg_catalog.pg_proc p
                  where p.pronamespace = schema.oid and p.proname = 'unschedule'),
                pg_catalog.has_schema_privilege(schema.oid, 'usage'),
                (select coalesce(r.rolname::pg_catalog.text, 'public')
                   from makers m left join pg_catalog.pg_roles r on r.oid = m.role
                  where r.rolsuper is not true
                    and r.rolname is distinct from current_user
                  limit 1)
           from schema",
    );
    let Some(row) = session.run(&LOOK, &Global, &[])?.first() else {
        return Ok(Cron::Missing("cron.job"));
    };
    for (column, part) in ["cron.job", "cron.schedule", "cron.unschedule"].into_iter().enumerate() {
        if row.need::<i64>(column)? == 0 {
            return Ok(Cron::Missing(part));
        }
    }
    if let Some(role) = row.get(4)? {
        return Ok(Cron::Strange(role));
    }
    Ok(if row.need(3)? { Cron::Ours } else { Cron::NotOurs })
}

fn require(session: &Session) -> Result<()> {
    let wrong = |rule: String, hint: &'static str| {
        Err(Error::WrongState { what: "pg_cron".to_owned(), rule, hint: Some(hint.into()) })
    };
    match look(session)? {
        // Without the right to use it Postgres says so at the first statement.
        Cron::Ours | Cron::NotOurs => Ok(()),
        Cron::Strange(role) => wrong(
            format!("is not used: role \"{role}\" could have code of its own called in its place"),
            "Schema cron, its table job and its functions must belong to a superuser or to you, \
             and nobody else may have CREATE there.",
        ),
        Cron::Missing(missing) => wrong(
            format!("is not available (missing {missing})"),
            "Install pg_cron in this database, or call absurd.ensure_partitions() and \
             absurd.cleanup_all_queues() from a scheduler of yours.",
        ),
    }
}

fn scope(session: &Session, queue: Option<&str>) -> Result<String> {
    match queue {
        None => Ok("all".to_owned()),
        Some(queue) => Ok(md5(session, queue)?[..12].to_owned()),
    }
}

/// The MD5 of a text as 32 hex digits, by Postgres's own function.
fn md5(session: &Session, text: &str) -> Result<String> {
    static MD5: Statement = Statement::new("select pg_catalog.md5($1)");
    match session.run(&MD5, &Global, params![text])?.first() {
        Some(row) => row.need(0),
        None => Err(Error::Corrupt { what: "md5() returned no row".to_owned() }),
    }
}

/// Jobs whose names are, or start with, one of these. The table is not ours: the query is planned
/// when it runs.
fn find(session: &Session, exact: &[String], prefixes: &[String]) -> Result<Vec<Job>> {
    let rows = session.run_once(
        "select jobname::pg_catalog.text, jobid::pg_catalog.int8
           from cron.job
          where jobname::pg_catalog.text = any ($1)
             or exists (select from pg_catalog.unnest($2) p
                         where pg_catalog.starts_with(jobname::pg_catalog.text, p))
          order by 1, 2",
        params![exact.to_vec(), prefixes.to_vec()],
    )?;
    rows.into_iter().map(|row| Ok(Job { name: row.need(0)?, id: row.need(1)? })).collect()
}

fn unschedule(session: &Session, jobs: &[Job]) -> Result<()> {
    for job in jobs {
        session.run_once("select cron.unschedule($1)", params![job.id])?;
    }
    Ok(())
}

/// Schedules a job, in the place of one of the same name: a schedule may not replace by itself.
fn schedule(session: &Session, name: String, when: &str, command: &str) -> Result<Job> {
    unschedule(session, &find(session, std::slice::from_ref(&name), &[])?)?;
    let rows: Rows = session.run_once(
        "select cron.schedule($1, $2, $3)::pg_catalog.int8",
        params![name.as_str(), when, command],
    )?;
    match rows.first().map(|row| row.get(0)).transpose()?.flatten() {
        Some(id) => Ok(Job { id, name }),
        None => Err(Error::WrongState {
            what: "Function cron.schedule".to_owned(),
            rule: format!("gave no id for the job \"{name}\""),
            hint: Some("It is not pg_cron's.".into()),
        }),
    }
}

fn check_queue(session: &Session, queue: Option<&QueueName>) -> Result<()> {
    queue.map_or(Ok(()), |queue| policy::require(session, queue))
}

/// The argument of the jobs' commands: the queue as SQL text, or none.
fn argument(queue: Option<&str>) -> String {
    queue.map_or_else(|| "null::text".to_owned(), literal)
}

/// Installs the jobs that make partitions, clean up and plan the detaching, for one queue or for
/// all; those of the same scope are replaced. For all queues, when a workflow has a schedule, also
/// the job that runs schedules.
///
/// # Errors
/// 55000 without pg_cron; 42P01 for an unknown queue; what pg_cron says of a schedule.
pub fn enable(
    session: &Session,
    queue: Option<&QueueName>,
    schedules: &Schedules,
) -> Result<Vec<Job>> {
    check_queue(session, queue)?;
    require(session)?;
    let queue = queue.map(QueueName::as_str);
    let (scope, argument) = (scope(session, queue)?, argument(queue));
    let mut jobs = vec![
        (
            "partitions",
            schedules.partitions,
            format!("select absurd.ensure_partitions({argument});"),
        ),
        (
            "cleanup",
            schedules.cleanup,
            format!("select * from absurd.cleanup_all_queues({argument});"),
        ),
        (
            "detach_plan",
            schedules.detach,
            format!("select * from absurd.schedule_detach_jobs({argument});"),
        ),
    ];
    // Schedules of workflows are nobody's queue alone.
    if queue.is_none() && has_schedules(session)? {
        jobs.push((SCHEDULES, EVERY_MINUTE, RUN_SCHEDULES.to_owned()));
    }
    jobs.into_iter()
        .map(|(kind, when, command)| {
            schedule(session, format!("absurd_{kind}_{scope}"), when, &command)
        })
        .collect()
}

/// Sees to it that a job runs schedules, which is made where enable_cron was called for all queues.
/// Says whether there is one, as far as the caller's role sees jobs.
///
/// # Errors
/// Postgres's own.
pub fn attend(session: &Session) -> Result<bool> {
    if look(session)? != Cron::Ours {
        return Ok(false);
    }
    let name = |kind: &str| format!("absurd_{kind}_all");
    let made = session.attempt(|| {
        if !find(session, &[name(SCHEDULES)], &[])?.is_empty() {
            return Ok(true);
        }
        if find(session, &QUEUE_JOBS.map(name), &[])?.is_empty() {
            return Ok(false);
        }
        schedule(session, name(SCHEDULES), EVERY_MINUTE, RUN_SCHEDULES).map(|_| true)
    })?;
    // Who may not use pg_cron has no job of its own.
    Ok(made.unwrap_or(false))
}

/// Whether a registered workflow has a schedule.
fn has_schedules(session: &Session) -> Result<bool> {
    static ANY: Statement = Statement::new(
        "select exists (select from absurd.workflow_schedule where next_trigger is not null)",
    );
    session.run(&ANY, &Own, &[])?.first().map_or(Ok(false), |row| row.need(0))
}

/// Removes the jobs of a scope, its pipelines included; returns them.
///
/// # Errors
/// 55000 without pg_cron.
pub fn disable(session: &Session, queue: Option<&str>) -> Result<Vec<Job>> {
    require(session)?;
    let scope = scope(session, queue)?;
    let exact: Vec<String> = QUEUE_JOBS
        .iter()
        .chain([&SCHEDULES])
        .map(|kind| format!("absurd_{kind}_{scope}"))
        .collect();
    let jobs = find(session, &exact, &[format!("{DETACH}{scope}_"), format!("{DROP}{scope}_")])?;
    unschedule(session, &jobs)?;
    Ok(jobs)
}

/// Removes what a dropped queue's jobs would go on with: those of its own scope, and the pipelines
/// of its tables in any scope. Without pg_cron there are none.
pub fn forget_queue(session: &Session, queue: &str) -> Result<()> {
    if look(session)? != Cron::Ours {
        return Ok(());
    }
    disable(session, Some(queue))?;
    for prefix in ["t", "r", "c", "w"] {
        let parent = hash(session, &name::relation(queue, prefix, ""), 8)?;
        unschedule(session, &pipelines(session, &parent)?)?;
    }
    Ok(())
}

fn hash(session: &Session, text: &str, digits: usize) -> Result<String> {
    Ok(md5(session, text)?[..digits].to_owned())
}

/// The jobs of the pipelines of a table, whatever their scope.
fn pipelines(session: &Session, parent: &str) -> Result<Vec<Job>> {
    let jobs = find(session, &[], &[DETACH.to_owned(), DROP.to_owned()])?;
    let of_parent = |job: &Job| job.name.rsplit('_').nth(1) == Some(parent);
    Ok(jobs.into_iter().filter(of_parent).collect())
}

/// Removes a pipeline by the name of either of its jobs. Without pg_cron there is none.
pub fn forget_pipeline(session: &Session, job: &str) -> Result<()> {
    if look(session)? != Cron::Ours {
        return Ok(());
    }
    let mut names = vec![job.to_owned()];
    if let Some(rest) = job.strip_prefix(DROP) {
        names.push(format!("{DETACH}{rest}"));
    } else if let Some(rest) = job.strip_prefix(DETACH) {
        names.push(format!("{DROP}{rest}"));
    }
    unschedule(session, &find(session, &names, &[])?)
}

/// Schedules, for each table that has none under way, the pipeline that detaches and then drops its
/// oldest candidate; returns the jobs made.
///
/// # Errors
/// 55000 without pg_cron; 42P01 for an unknown queue.
pub fn schedule_detach(session: &Session, queue: Option<&QueueName>) -> Result<Vec<PipelineJob>> {
    check_queue(session, queue)?;
    require(session)?;
    let scope = scope(session, queue.map(QueueName::as_str))?;
    let mut made: Vec<PipelineJob> = Vec::new();
    let mut seen = String::new();
    for candidate in partitions::candidates(session, queue)? {
        // The oldest of each table comes first.
        if candidate.parent == seen {
            continue;
        }
        seen.clone_from(&candidate.parent);
        let parent = hash(session, &candidate.parent, 8)?;
        if pipelines(session, &parent)?.is_empty() {
            made.extend(pipeline(session, &scope, &parent, candidate)?);
        }
    }
    Ok(made)
}

fn pipeline(
    session: &Session,
    scope: &str,
    parent: &str,
    candidate: Candidate,
) -> Result<[PipelineJob; 2]> {
    let Candidate { queue, parent: table, partition } = candidate;
    let this = hash(session, &format!("{table}:{partition}"), 12)?;
    let (detach, drop) =
        (format!("{DETACH}{scope}_{parent}_{this}"), format!("{DROP}{scope}_{parent}_{this}"));
    // Postgres detaches concurrently only from a table without default partition.
    let concurrently = if has_default(session, &table)? { "" } else { " concurrently" };
    let (quoted_table, quoted) = (name::quote(&table), name::quote(&partition));
    let detach_command = match rights::are_owners()? {
        true => format!(
            "alter table absurd.{quoted_table} detach partition absurd.{quoted}{concurrently}"
        ),
        // The job runs as who schedules it.
        false => {
            format!("select absurd.detach_partition({}, {});", literal(&table), literal(&partition))
        }
    };
    let drop_command = format!(
        "select absurd.drop_detached_partition({}, {});",
        literal(&partition),
        literal(&drop)
    );
    let job = |name, command: &str| schedule(session, name, EVERY_MINUTE, command);
    let (detach, drop) = (job(detach, &detach_command)?, job(drop, &drop_command)?);
    let of =
        |job, kind| PipelineJob { job, queue: queue.clone(), partition: partition.clone(), kind };
    Ok([of(detach, "detach"), of(drop, "drop")])
}

fn has_default(session: &Session, table: &str) -> Result<bool> {
    static DEFAULT: Statement = Statement::new(
        "select from pg_catalog.pg_partitioned_table p
           join pg_catalog.pg_class c on c.oid = p.partrelid
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname = $1 and p.partdefid <> 0",
    );
    Ok(!session.run(&DEFAULT, &Global, params![table])?.is_empty())
}
