//! What roles may do with queues, as ordinary grants on their tables.
//!
//! An access is a list of privileges. Who has it on every queue has it on those made later too:
//! that is remembered by the role's id, so that a role made anew under its name inherits nothing.
//! An id means a role only in the cluster where it was noted, or where the role that has it now
//! bears the same name, as after pg_upgrade.

use super::provision::StorageMode;
use super::{QueueName, name, policy, provision, script};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Oid, Session, rights};

/// What a role is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Spawns tasks, emits events, starts workflow runs, reads results.
    Producer,
    /// Claims runs, and all that is done with claimed ones.
    Worker,
    /// Reads.
    Viewer,
    /// Creates, drops and cleans up queues, sets policies, registers and schedules workflows.
    Admin,
}

/// Privileges on tables, as in GRANT.
type Privileges = &'static [(&'static str, &'static str)];

impl Access {
    const ALL: [Self; 4] = [Self::Producer, Self::Worker, Self::Viewer, Self::Admin];

    /// Reads the name of an access.
    ///
    /// # Errors
    /// 22004 for NULL, 22023 for another word.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let text = text.ok_or_else(|| Error::null("p_access"))?;
        Self::ALL.into_iter().find(|access| access.as_str() == text).ok_or_else(|| {
            Error::invalid(
                format!("access \"{text}\""),
                "must be producer, worker, viewer or admin",
            )
        })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    /// On the tables of a queue, by their prefixes. A producer changes those columns alone that
    /// waking a run changes; verbs of workers ask for the whole table.
    const fn on_queue(self) -> Privileges {
        match self {
            Self::Producer => &[
                ("t", "select, insert, update (state)"),
                (
                    "r",
                    "select, insert, update (state, available_at, wake_event, event_payload, \
                     claimed_by, claim_expires_at)",
                ),
                ("c", "select, insert, update"),
                ("e", "select, insert"),
                ("w", "select, delete"),
                ("i", "select, insert, update"),
            ],
            Self::Worker => &[
                ("t", "select, insert, update"),
                ("r", "select, insert, update, delete"),
                ("c", "select, insert, update"),
                ("e", "select, insert"),
                ("w", "select, insert, update, delete"),
                ("i", "select, insert, update"),
            ],
            Self::Viewer => &[
                ("t", "select"),
                ("r", "select"),
                ("c", "select"),
                ("e", "select"),
                ("w", "select"),
                ("i", "select"),
            ],
            Self::Admin => &CREATOR,
        }
    }

    /// On the extension's own tables, whatever the queue.
    const fn on_schema(self) -> Privileges {
        match self {
            Self::Producer | Self::Worker => &[
                ("queues", "select"),
                ("workflow_run", "select, insert, update"),
                ("workflow_transition", "select"),
            ],
            Self::Viewer => &[
                ("queues", "select"),
                ("workflow_run", "select"),
                ("workflow_transition", "select"),
                ("workflow_definition", "select"),
                ("workflow_schedule", "select"),
            ],
            Self::Admin => &[
                ("queues", "select"),
                ("workflow_run", "select, insert, update, delete"),
                ("workflow_transition", "select"),
            ],
        }
    }

    /// On the extension's own tables, of who has the access on every queue.
    const fn on_all(self) -> Privileges {
        match self {
            Self::Admin => &[
                ("queues", "insert, update, delete"),
                ("workflow_definition", "select, insert, update, delete"),
                ("workflow_schedule", "select, insert, update, delete"),
            ],
            _ => &[],
        }
    }
}

/// What who creates a queue may do to its tables.
const CREATOR: [(&str, &str); 6] =
    [("t", ALL), ("r", ALL), ("c", ALL), ("e", ALL), ("w", ALL), ("i", ALL)];
const ALL: &str = "select, insert, update, delete, truncate";

/// Gives a role an access on one queue, or on all and those made later.
///
/// # Errors
/// 42501 for who is not the extension's owner, 42P01 for an unknown queue, 42704 for no role.
pub fn grant(
    session: &Session,
    role: Oid,
    access: Access,
    queue: Option<&QueueName>,
) -> Result<()> {
    check(session, queue)?;
    let grantee = Grantee::of(role)?;
    let _owner = rights::restricted()?;
    static NOTE: Statement = Statement::new(
        "insert into absurd.queue_access (role_id, role_name, system_id, access, queue_name)
         values ($1, $2, $3, $4, $5)
         on conflict (role_id, access, coalesce(queue_name, '')) do update
            set role_name = excluded.role_name, system_id = excluded.system_id",
    );
    let name = queue.map(QueueName::as_str);
    let values = params![role, grantee.name.as_str(), system(), access.as_str(), name];
    session.run(&NOTE, &Own, values)?;
    grantee.give(session, access, queue)
}

/// Takes an access away again; what others of the role's give stays. With the last one goes USAGE
/// of the schema.
///
/// # Errors
/// As [`grant`].
pub fn revoke(
    session: &Session,
    role: Oid,
    access: Access,
    queue: Option<&QueueName>,
) -> Result<()> {
    check(session, queue)?;
    let grantee = Grantee::of(role)?;
    let _owner = rights::restricted()?;
    static FORGET: Statement = Statement::new(
        "delete from absurd.queue_access
          where role_id = $1 and access = $2 and ($3 is null or queue_name = $3)",
    );
    let name = queue.map(QueueName::as_str);
    session.run(&FORGET, &Own, params![role, access.as_str(), name])?;
    grantee.take(session, access, queue)?;
    static OTHERS: Statement = Statement::new(
        "select access, queue_name from absurd.queue_access where role_id = $1 order by 1, 2",
    );
    let others = session.run(&OTHERS, &Own, params![role])?;
    if others.is_empty() {
        return grantee.run(session, "revoke", "usage", "schema absurd", "from");
    }
    for row in others {
        let other = Access::parse(Some(&row.need::<String>(0)?))?;
        let name: Option<String> = row.get(1)?;
        let queue = name.map(|name| QueueName::parse(Some(&name))).transpose()?;
        grantee.give(session, other, queue.as_ref())?;
    }
    Ok(())
}

fn check(session: &Session, queue: Option<&QueueName>) -> Result<()> {
    if !rights::are_owners()? {
        return Err(Error::NotOwner);
    }
    queue.map_or(Ok(()), |queue| policy::require(session, queue))
}

/// The cluster that roles' ids are of.
fn system() -> i64 {
    rights::system_identifier() as i64
}

/// Lets who creates a queue work on it: nobody but its owner has rights on its tables otherwise.
///
/// # Errors
/// Postgres's own.
pub fn to_creator(session: &Session, queue: &QueueName, creator: Oid) -> Result<()> {
    if rights::current_role() == creator || rights::is_superuser_role(creator)? {
        return Ok(());
    }
    let grantee = Grantee::of(creator)?;
    for table in tables(queue)? {
        grantee.run(session, "grant", ALL, &table, "to")?;
    }
    Ok(())
}

/// Gives a new queue's tables to who has an access on every queue.
///
/// # Errors
/// Postgres's own.
pub fn by_default(session: &Session, queue: &QueueName) -> Result<()> {
    // An id is a role's where it was noted, or where the role is called the same.
    static DEFAULTS: Statement = Statement::new(
        "select a.role_id, a.access
           from absurd.queue_access a
           join pg_catalog.pg_roles r on r.oid = a.role_id
          where a.queue_name is null and (a.system_id = $1 or a.role_name = r.rolname)
          order by 1, 2",
    );
    for row in session.run(&DEFAULTS, &Own, params![system()])? {
        let access = Access::parse(Some(&row.need::<String>(1)?))?;
        Grantee::of(row.need(0)?)?.on_queue(session, access, queue, true)?;
    }
    Ok(())
}

/// Forgets who had an access on a queue that is dropped.
///
/// # Errors
/// Postgres's own.
pub fn forget_queue(session: &Session, queue: &str) -> Result<()> {
    static FORGET: Statement =
        Statement::new("delete from absurd.queue_access where queue_name = $1");
    session.run(&FORGET, &Own, params![queue]).map(drop)
}

/// The queue's tables, by their prefixes, quoted.
fn tables(queue: &QueueName) -> Result<Vec<String>> {
    Ok(prefixes(queue)?.iter().map(|prefix| quoted(queue, prefix)).collect())
}

fn prefixes(queue: &QueueName) -> Result<&'static [&'static str]> {
    Ok(script::prefixes(match provision::is_partitioned(queue)? {
        true => StorageMode::Partitioned,
        false => StorageMode::Unpartitioned,
    }))
}

fn quoted(queue: &QueueName, prefix: &str) -> String {
    format!("absurd.{}", name::quote(&queue.relation(prefix, "")))
}

/// A role that gets grants.
struct Grantee {
    name: String,
}

impl Grantee {
    fn of(role: Oid) -> Result<Self> {
        Ok(Self { name: rights::name_of(role)? })
    }

    fn run(
        &self,
        session: &Session,
        verb: &str,
        privileges: &str,
        on: &str,
        to: &str,
    ) -> Result<()> {
        let sql = format!("{verb} {privileges} on {on} {to} {}", name::quote(&self.name));
        session.run_once(&sql, &[]).map(drop)
    }

    fn give(&self, session: &Session, access: Access, queue: Option<&QueueName>) -> Result<()> {
        self.run(session, "grant", "usage", "schema absurd", "to")?;
        self.on_own(session, access.on_schema(), true)?;
        match queue {
            Some(queue) => self.on_queue(session, access, queue, true),
            None => {
                self.on_own(session, access.on_all(), true)?;
                self.on_each(session, access, true)
            }
        }
    }

    /// All but USAGE of the schema.
    fn take(&self, session: &Session, access: Access, queue: Option<&QueueName>) -> Result<()> {
        self.on_own(session, access.on_schema(), false)?;
        match queue {
            Some(queue) => self.on_queue(session, access, queue, false),
            None => {
                self.on_own(session, access.on_all(), false)?;
                self.on_each(session, access, false)
            }
        }
    }

    fn on_own(&self, session: &Session, privileges: Privileges, gives: bool) -> Result<()> {
        let (verb, to) = if gives { ("grant", "to") } else { ("revoke", "from") };
        privileges.iter().try_for_each(|(table, privileges)| {
            self.run(session, verb, privileges, &format!("absurd.{table}"), to)
        })
    }

    fn on_queue(
        &self,
        session: &Session,
        access: Access,
        queue: &QueueName,
        gives: bool,
    ) -> Result<()> {
        let (verb, to) = if gives { ("grant", "to") } else { ("revoke", "from") };
        let present = prefixes(queue)?;
        let wanted = access.on_queue().iter().filter(|(prefix, _)| present.contains(prefix));
        for (prefix, privileges) in wanted {
            self.run(session, verb, privileges, &quoted(queue, prefix), to)?;
        }
        Ok(())
    }

    /// On every queue whose tables are there and are the engine's.
    fn on_each(&self, session: &Session, access: Access, gives: bool) -> Result<()> {
        for name in policy::all_names(session)? {
            // A registry row of another making may have a name that no table can carry.
            let Ok(queue) = QueueName::parse(Some(&name)) else { continue };
            let is_usable = match super::access::check(&name) {
                Ok(group) => group.tables.iter().take(5).all(Option::is_some),
                Err(Error::NotOurs { .. } | Error::ColumnType { .. }) => false,
                Err(error) => return Err(error),
            };
            if is_usable {
                self.on_queue(session, access, &queue, gives)?;
            }
        }
        Ok(())
    }
}
