//! A queue as the scope of statements.

use super::{QueueName, access, name};
use crate::error::{Error, Result};
use crate::pg::plan::Scope;

impl Scope for QueueName {
    fn key(&self) -> &str {
        self.as_str()
    }

    fn expand(&self, sql: &'static str) -> String {
        name::expand(sql, self.as_str())
    }

    fn check(&self) -> Result<()> {
        access::check(self.as_str()).map(drop)
    }

    fn missing(&self, message: &str) -> Option<Error> {
        // Postgres names the relation unquoted: relation "absurd.t_x" does not exist.
        ["t", "r", "c", "e", "w", "i"]
            .map(|prefix| format!("absurd.{}", self.relation(prefix, "")))
            .into_iter()
            .find(|relation| message.contains(relation.as_str()))
            .map(|relation| Error::NoSuchRelation { relation, queue: self.as_str().to_owned() })
    }
}
