//! One call of a function: its arguments, and what must come of it.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::database::Failure;

/// An argument, of the type that the function's parameter has.
#[derive(Clone, Debug)]
pub enum Arg {
    Text(Option<&'static str>),
    Uuid(Option<Uuid>),
    Int(Option<i32>),
    Bool(bool),
    Json(Option<Json>),
    Time(Option<DateTime<Utc>>),
    Texts(Vec<&'static str>),
    Uuids(Vec<Uuid>),
    Jsons(Vec<Json>),
    /// A role by its oid.
    Role(u32),
}

/// The value of a `regrole`: an oid, which drivers send as such.
#[derive(Debug)]
struct Role(u32);

impl ToSql for Role {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Failure> {
        self.0.to_sql(&Type::OID, out)
    }

    fn accepts(wanted: &Type) -> bool {
        *wanted == Type::REGROLE
    }

    to_sql_checked!();
}

/// As which types a driver sends text and integers.
#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    /// As the parameters are declared.
    Exact,
    /// Integers as int2, as drivers do that take the smallest type which holds the value.
    SmallIntegers,
    /// Text as varchar, and cast to it, as JDBC does.
    Varchar,
    /// No types: the server finds the function and says what it wants.
    Inferred,
}

impl Arg {
    /// The type of the parameter.
    pub fn declared(&self) -> Type {
        match self {
            Self::Text(_) => Type::TEXT,
            Self::Uuid(_) => Type::UUID,
            Self::Int(_) => Type::INT4,
            Self::Bool(_) => Type::BOOL,
            Self::Json(_) => Type::JSONB,
            Self::Time(_) => Type::TIMESTAMPTZ,
            Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Uuids(_) => Type::UUID_ARRAY,
            Self::Jsons(_) => Type::JSONB_ARRAY,
            Self::Role(_) => Type::REGROLE,
        }
    }

    fn sent(&self, style: Style) -> Type {
        match (style, self) {
            (Style::SmallIntegers, Self::Int(_)) => Type::INT2,
            (Style::Varchar, Self::Text(_)) => Type::VARCHAR,
            (Style::Varchar, Self::Texts(_)) => Type::VARCHAR_ARRAY,
            _ => self.declared(),
        }
    }

    fn placeholder(&self, style: Style, position: usize) -> String {
        match (style, self) {
            (Style::Varchar, Self::Text(_)) => format!("${position}::varchar"),
            (Style::Varchar, Self::Texts(_)) => format!("${position}::varchar[]"),
            _ => format!("${position}"),
        }
    }

    fn value(&self, style: Style) -> Result<Box<dyn ToSql + Sync + Send>, Failure> {
        Ok(match self.clone() {
            Self::Text(text) => Box::new(text),
            Self::Uuid(id) => Box::new(id),
            Self::Int(number) if style == Style::SmallIntegers => {
                Box::new(number.map(i16::try_from).transpose()?)
            }
            Self::Int(number) => Box::new(number),
            Self::Bool(truth) => Box::new(truth),
            Self::Json(json) => Box::new(json),
            Self::Time(at) => Box::new(at),
            Self::Texts(texts) => Box::new(texts),
            Self::Uuids(ids) => Box::new(ids),
            Self::Jsons(values) => Box::new(values),
            Self::Role(id) => Box::new(Role(id)),
        })
    }
}

/// What must come of a call.
#[derive(Clone, Copy)]
pub enum Outcome {
    /// The function returns void.
    Void,
    /// The function returns rows that pass this check.
    Rows(fn(&[Row]) -> Result<bool, tokio_postgres::Error>),
    /// The function refuses with this SQLSTATE.
    Refused(&'static str),
}

/// A call of one function with all its arguments.
pub struct Call {
    /// SQL that is run first, in the same transaction.
    pub before: &'static str,
    pub function: &'static str,
    pub args: Vec<Arg>,
    pub outcome: Outcome,
    /// Arguments from here on have defaults, and the call is made without them as well.
    pub required: usize,
}

impl Call {
    /// The call in SQL with its first `count` arguments. A void result is read as text, too, as
    /// drivers do that cannot read void.
    fn sql(&self, style: Style, count: usize, as_text: bool) -> String {
        let given = self.args[..count].iter().enumerate();
        let list: Vec<String> =
            given.map(|(index, arg)| arg.placeholder(style, index + 1)).collect();
        let call = format!("absurd.\"{}\"({})", self.function, list.join(", "));
        match (self.outcome, as_text) {
            (Outcome::Void, true) => format!("select {call}::text"),
            (Outcome::Void, false) => format!("select {call}"),
            _ => format!("select * from {call}"),
        }
    }

    /// Whether this way of sending differs from the declared types.
    pub fn varies(&self, style: Style) -> bool {
        style == Style::Exact
            || style == Style::Inferred
            || self.args.iter().any(|arg| arg.sent(style) != arg.declared())
    }

    /// Makes the call, in a transaction that is rolled back, and checks what comes of it: with all
    /// arguments, and without those that have defaults.
    ///
    /// # Errors
    /// Says which call came to something else.
    pub async fn make(&self, client: &mut Client, style: Style) -> Result<(), Failure> {
        let void = matches!(self.outcome, Outcome::Void);
        self.attempt(client, style, self.args.len(), void).await?;
        if void {
            self.attempt(client, style, self.args.len(), false).await?;
        }
        for count in self.required..self.args.len() {
            self.attempt(client, style, count, void).await?;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        client: &mut Client,
        style: Style,
        count: usize,
        as_text: bool,
    ) -> Result<(), Failure> {
        let sql = self.sql(style, count, as_text);
        let failed = |what: String| -> Failure { format!("{sql}: {what}").into() };
        let transaction = client.transaction().await?;
        transaction.batch_execute(self.before).await.map_err(|error| failed(tell(&error)))?;
        let types: Vec<Type> = match style {
            Style::Inferred => Vec::new(),
            _ => self.args[..count].iter().map(|arg| arg.sent(style)).collect(),
        };
        let values =
            self.args[..count].iter().map(|arg| arg.value(style)).collect::<Result<Vec<_>, _>>()?;
        let statement = transaction.prepare_typed(&sql, &types).await;
        let statement = statement.map_err(|error| failed(tell(&error)))?;
        let parameters = values.iter().map(|value| &**value as &(dyn ToSql + Sync));
        let parameters: Vec<_> = parameters.collect();
        let answer = transaction.query(&statement, &parameters).await;
        let all = count == self.args.len();
        match (self.outcome, answer) {
            (Outcome::Void, Ok(rows)) if rows.len() == 1 => {
                if as_text && !rows[0].try_get::<_, &str>(0)?.is_empty() {
                    return Err(failed("void is not the empty text".into()));
                }
            }
            (Outcome::Rows(check), Ok(rows)) => {
                // What defaults come to is the documents' matter; here they must be accepted.
                if all && !check(&rows).map_err(|error| failed(tell(&error)))? {
                    return Err(failed(format!("unexpected result {rows:?}")));
                }
            }
            (Outcome::Refused(code), Err(error))
                if error.code().is_some_and(|given| given.code() == code) => {}
            (_, Ok(rows)) => return Err(failed(format!("unexpected result {rows:?}"))),
            (_, Err(error)) => return Err(failed(tell(&error))),
        }
        transaction.rollback().await?;
        Ok(())
    }
}

fn tell(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    }
}
