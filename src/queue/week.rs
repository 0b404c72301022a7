//! One week of a partitioned queue, addressed by itself.
//!
//! A statement on the whole opens the tables and indexes of every week, though nearly all it does
//! is in one. Where the week is known, its partitions are named instead.

use std::rc::Rc;

use super::QueueName;
use super::rows::runs;
use super::{name, partition};
use crate::error::{Error, Result};
use crate::pg::catalog::{self, Right};
use crate::pg::direct::{Access, Table};
use crate::pg::plan::Scope;
use crate::pg::{Session, Timestamp, Uuid, uuid};

/// The tables of a week that claims use, with the rights that they need.
const TABLES: [(&str, &[Right]); 3] = [
    ("r", &[catalog::SELECT, catalog::UPDATE]),
    ("t", &[catalog::SELECT, catalog::UPDATE]),
    ("w", &[catalog::SELECT]),
];

/// A week's tables, as a scope of statements.
pub struct Week<'a> {
    queue: &'a QueueName,
    tag: String,
    /// Queue and tag, with what no name contains between them.
    key: String,
    /// Whether its statements run with the owner's rights, which partitions are the owner's alone
    /// for: the caller has been found to have the rights on the whole, and nothing on it would be
    /// passed by.
    lends: bool,
}

impl<'a> Week<'a> {
    /// The week with a tag, when its tables can stand for the whole in this call: they are
    /// attached, the caller has the rights on the whole, and neither triggers nor row security
    /// would be passed by.
    ///
    /// # Errors
    /// Those of the catalogue's cache.
    pub fn find(queue: &'a QueueName, tag: &str) -> Result<Option<Self>> {
        let mut lends = false;
        for (prefix, rights) in TABLES {
            let (whole, part) = (queue.relation(prefix, ""), queue.relation(prefix, tag));
            if !catalog::stands_for(&part, &whole)? || !catalog::has_rights(&whole, rights)? {
                return Ok(None);
            }
            lends |= !catalog::has_rights(&part, rights)?;
        }
        let key = format!("{}\0{tag}", queue.as_str());
        Ok(Some(Self { queue, tag: tag.to_owned(), key, lends }))
    }

    /// The week's runs, for reading without a statement; none when statements must be used.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn runs(&self, session: &Session) -> Result<Option<Rc<Table>>> {
        let table = self.queue.relation("r", &self.tag);
        session.table(&table, &runs::LAYOUT, Access::ReadPart)
    }

    /// Where an id's rows may lie: in its week, or as if they were one, in the default partitions.
    /// None when these cannot stand for the whole.
    ///
    /// # Errors
    /// Those of the catalogue's cache.
    pub fn of(queue: &'a QueueName, id: Uuid) -> Result<Option<Vec<Self>>> {
        let mut weeks = Vec::with_capacity(2);
        for tag in tag_of(id).into_iter().chain([partition::DEFAULT.to_owned()]) {
            if catalog::id(&queue.relation("r", &tag))?.is_some() {
                let Some(week) = Self::find(queue, &tag)? else { return Ok(None) };
                weeks.push(week);
            }
        }
        Ok(Some(weeks))
    }

    /// Whether an id's rows lie in this week, if they do not lie in the default partition.
    pub fn holds(&self, id: Uuid) -> bool {
        tag_of(id).is_some_and(|tag| tag == self.tag)
    }
}

/// The tag of the week that an id's rows belong to; none for an id without an instant.
pub fn tag_of(id: Uuid) -> Option<String> {
    uuid::timestamp(id).and_then(Timestamp::week_tag)
}

impl Scope for Week<'_> {
    fn key(&self) -> &str {
        &self.key
    }

    fn expand(&self, sql: &'static str) -> String {
        name::expand_in(sql, self.queue.as_str(), &self.tag)
    }

    fn check(&self) -> Result<()> {
        self.queue.check()
    }

    fn missing(&self, message: &str) -> Option<Error> {
        self.queue.missing(message)
    }

    fn is_owned(&self) -> bool {
        self.lends
    }
}
