//! What a queue's owner decides about its retention and its partitions.

use serde::Deserialize;
use serde_json::Value;

use super::{QueueName, partition};
use crate::error::{Error, Result};
use crate::json::{self, MAX_LEVELS, Unread};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::value::Interval;
use crate::pg::{Param, Session, catalog, rights, shape};

/// A queue's row in `absurd.queues`, as get_queue_policy returns it.
pub struct Policy {
    pub queue_name: String,
    pub storage_mode: String,
    pub default_partition: String,
    pub partition_lookahead: Interval,
    pub partition_lookback: Interval,
    pub cleanup_ttl: Interval,
    pub cleanup_limit: i32,
    pub detach_mode: String,
    pub detach_min_age: Interval,
}

static GET: Statement = Statement::new(
    "select queue_name, storage_mode, default_partition, partition_lookahead, partition_lookback,
            cleanup_ttl, cleanup_limit, detach_mode, detach_min_age
       from absurd.queues
      where queue_name = $1",
);

/// The queue's policy, for who may read the registry; none when there is no such queue.
pub fn get(session: &Session, queue: &str) -> Result<Option<Policy>> {
    let rows = session.run(&GET, &Global, params![queue])?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Policy {
        queue_name: row.need(0)?,
        storage_mode: row.need(1)?,
        default_partition: row.need(2)?,
        partition_lookahead: session.keep(row.need(3)?),
        partition_lookback: session.keep(row.need(4)?),
        cleanup_ttl: session.keep(row.need(5)?),
        cleanup_limit: row.need(6)?,
        detach_mode: row.need(7)?,
        detach_min_age: session.keep(row.need(8)?),
    }))
}

/// Whether the queue's policy asks for a notification when work becomes ready, as it is committed
/// by now: the answer is remembered, whatever snapshot the transaction keeps.
pub fn notify(session: &Session, queue: &QueueName) -> Result<bool> {
    static NOTIFY: Statement =
        Statement::new("select notify from absurd.queues where queue_name = $1");
    let rows = session.run_latest(&NOTIFY, &Own, params![queue.as_str()])?;
    rows.first().map_or(Ok(false), |row| row.need(0))
}

/// Writes the registry: as its owner, once the role has been found to have the right, unless row
/// security is to decide about the role.
///
/// # Errors
/// Those of `f`.
pub fn as_registrar<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    let _owner = match catalog::has_row_security(shape::own("queues")?.0)? {
        true => None,
        false => rights::owner()?,
    };
    f()
}

/// Whether there is such a queue, for whoever asks.
pub fn exists(session: &Session, queue: &str) -> Result<bool> {
    static THERE: Statement = Statement::new("select from absurd.queues where queue_name = $1");
    Ok(!session.run(&THERE, &Own, params![queue])?.is_empty())
}

/// The names of all queues, sorted, for who may read the registry.
pub fn names(session: &Session) -> Result<Vec<String>> {
    session.run(&NAMES, &Global, &[])?.into_iter().map(|row| row.need(0)).collect()
}

/// As [`names`], whoever asks.
pub fn all_names(session: &Session) -> Result<Vec<String>> {
    session.run(&NAMES, &Own, &[])?.into_iter().map(|row| row.need(0)).collect()
}

static NAMES: Statement =
    Statement::new("select queue_name from absurd.queues order by queue_name");

/// Checks that a queue is there.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn require(session: &Session, queue: &QueueName) -> Result<()> {
    match exists(session, queue.as_str())? {
        true => Ok(()),
        false => Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() }),
    }
}

/// The keys of a policy, the intervals as text for their columns' input function, or absent.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub default_partition: Option<String>,
    pub partition_lookahead: Option<String>,
    pub partition_lookback: Option<String>,
    pub cleanup_ttl: Option<String>,
    pub cleanup_limit: Option<i32>,
    pub detach_mode: Option<String>,
    pub detach_min_age: Option<String>,
    pub notify: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, deserialize_with = "present")]
    default_partition: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    partition_lookahead: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    partition_lookback: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    cleanup_ttl: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    cleanup_limit: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    detach_mode: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    detach_min_age: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    notify: Option<Value>,
}

/// A member that is there counts, also when it is null: null is no policy and gets an error.
fn present<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Changes {
    /// Reads and checks a policy object; intervals are checked by the server.
    ///
    /// # Errors
    /// 22023 naming the key that is unknown or whose value breaks its rule.
    pub fn parse(json: &str) -> Result<Self> {
        if !json.starts_with('{') {
            return Err(Error::invalid(format!("queue policy {json}"), "must be a JSON object"));
        }
        let fields: Fields = json::read(json, MAX_LEVELS).map_err(|unread| {
            let Unread::Wrong(error) = unread else {
                return Error::invalid("queue policy", unread.to_string());
            };
            let text = error.to_string();
            let key = text.split('`').nth(1).unwrap_or_default();
            Error::invalid(format!("queue policy key \"{key}\""), "is unknown").with_hint(
                "Keys are default_partition, partition_lookahead, partition_lookback, \
                 cleanup_ttl, cleanup_limit, detach_mode, detach_min_age and notify.",
            )
        })?;
        Ok(Self {
            default_partition: one_of(
                "default_partition",
                fields.default_partition,
                &["enabled", "disabled"],
            )?,
            partition_lookahead: text("partition_lookahead", fields.partition_lookahead)?,
            partition_lookback: text("partition_lookback", fields.partition_lookback)?,
            cleanup_ttl: text("cleanup_ttl", fields.cleanup_ttl)?,
            cleanup_limit: positive("cleanup_limit", fields.cleanup_limit)?,
            detach_mode: one_of("detach_mode", fields.detach_mode, &["none", "empty"])?,
            detach_min_age: text("detach_min_age", fields.detach_min_age)?,
            notify: truth("notify", fields.notify)?,
        })
    }
}

fn text(key: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(bad(key, &other, "must be an interval as text, such as \"30 days\"")),
    }
}

fn one_of(key: &str, value: Option<Value>, allowed: &[&str]) -> Result<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(Some(text)),
        Some(other) => Err(bad(key, &other, format!("must be one of {}", allowed.join(", ")))),
    }
}

fn positive(key: &str, value: Option<Value>) -> Result<Option<i32>> {
    let Some(value) = value else { return Ok(None) };
    match value.as_i64().and_then(|number| i32::try_from(number).ok()) {
        Some(number) if number >= 1 => Ok(Some(number)),
        _ => Err(bad(key, &value, "must be a whole number and at least 1")),
    }
}

fn truth(key: &str, value: Option<Value>) -> Result<Option<bool>> {
    match value {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(other) => Err(bad(key, &other, "must be true or false")),
    }
}

fn bad(key: &str, value: &Value, rule: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid(format!("queue policy {key} {value}"), rule)
}

/// Changes a queue's policy.
///
/// # Errors
/// 42501 without UPDATE on `absurd.queues`, 42P01 for an unknown queue, 22023 for a bad value,
/// 55000 when a default partition that is to go holds rows; nothing is changed then.
pub fn set(session: &Session, queue: &QueueName, changes: &Changes) -> Result<()> {
    catalog::require("queues", catalog::UPDATE)?;
    static MODE: Statement =
        Statement::new("select storage_mode from absurd.queues where queue_name = $1");
    let Some(mode) = session.run(&MODE, &Own, params![queue.as_str()])?.first() else {
        return Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() });
    };
    if changes.default_partition.is_some() && mode.need::<String>(0)? != "partitioned" {
        return Err(Error::invalid(
            format!("default_partition of queue \"{}\"", queue.as_str()),
            "is only supported for partitioned queues",
        ));
    }
    for (key, value) in [
        ("partition_lookahead", &changes.partition_lookahead),
        ("partition_lookback", &changes.partition_lookback),
        ("cleanup_ttl", &changes.cleanup_ttl),
        ("detach_min_age", &changes.detach_min_age),
    ] {
        if let Some(value) = value {
            check_interval(session, key, value)?;
        }
    }
    static SET: Statement = Statement::new(
        "update absurd.queues
            set default_partition = coalesce($2, default_partition),
                partition_lookahead = coalesce($3::interval, partition_lookahead),
                partition_lookback = coalesce($4::interval, partition_lookback),
                cleanup_ttl = coalesce($5::interval, cleanup_ttl),
                cleanup_limit = coalesce($6, cleanup_limit),
                detach_mode = coalesce($7, detach_mode),
                detach_min_age = coalesce($8::interval, detach_min_age),
                notify = coalesce($9, notify)
          where queue_name = $1
         returning queue_name",
    );
    let values: &[Param] = params![
        queue.as_str(),
        changes.default_partition.as_deref(),
        changes.partition_lookahead.as_deref(),
        changes.partition_lookback.as_deref(),
        changes.cleanup_ttl.as_deref(),
        changes.cleanup_limit,
        changes.detach_mode.as_deref(),
        changes.detach_min_age.as_deref(),
        changes.notify,
    ];
    // Dropped while this call waited for its row.
    if as_registrar(|| session.run(&SET, &Global, values))?.is_empty() {
        return Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() });
    }
    let _owner = rights::restricted()?;
    match changes.default_partition.as_deref() {
        Some("enabled") => partition::ensure_default(session, queue),
        Some(_) => partition::drop_default(session, queue),
        None => Ok(()),
    }
}

fn check_interval(session: &Session, key: &str, value: &str) -> Result<()> {
    static CHECK: Statement = Statement::new("select $1::interval >= '0'::interval");
    let readable = session.run(&CHECK, &Global, params![value]);
    let shown = || format!("queue policy {key} \"{value}\"");
    match readable {
        // The input function's codes: 22007, 22008, 22015.
        Err(Error::Postgres(caught))
            if ["22007", "22008", "22015"].iter().any(|code| caught.is(code)) =>
        {
            Err(Error::invalid(shown(), "must be an interval, such as \"30 days\""))
        }
        Err(error) => Err(error),
        Ok(rows) => match rows.first().map(|row| row.need(0)).transpose()? {
            Some(true) => Ok(()),
            _ => Err(Error::invalid(shown(), "must not be negative")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_checked() {
        let changes = Changes::parse(r#"{"cleanup_limit":5,"detach_mode":"empty"}"#).unwrap();
        assert_eq!(changes.cleanup_limit, Some(5));
        assert_eq!(changes.detach_mode.as_deref(), Some("empty"));
        for (json, named) in [
            ("[]", "[]"),
            (r#"{"storage_mode":"partitioned"}"#, "storage_mode"),
            (r#"{"cleanup_limit":0}"#, "cleanup_limit"),
            (r#"{"cleanup_limit":null}"#, "cleanup_limit"),
            (r#"{"cleanup_ttl":7}"#, "cleanup_ttl"),
            (r#"{"detach_mode":"all"}"#, "detach_mode"),
            (r#"{"notify":"yes"}"#, "notify"),
        ] {
            let error = Changes::parse(json).unwrap_err();
            assert_eq!(error.sqlstate(), "22023", "{json}");
            assert!(error.to_string().contains(named), "{json}: {error}");
        }
    }
}
