//! Many tasks or runs in one call: all of them or none, each error naming its element.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::options::SpawnOptions;
use super::spawn::{self, Order, Spawned};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Jsonb, Session, Statement, Timestamp, Uuid};
use crate::queue::{QueueName, ready};

/// One element of `p_tasks`, read and checked.
#[derive(Debug)]
pub struct Item {
    pub name: String,
    /// None is JSON null.
    pub params: Option<String>,
    raw_options: Option<String>,
    pub options: SpawnOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    task_name: Option<Value>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
}

/// The argument of spawn_tasks, as its errors name it.
pub const TASKS: &str = "p_tasks";

/// Reads the array of `{task_name, params, options}`.
///
/// # Errors
/// 22023 for what is no array of such objects; what [`SpawnOptions::parse`] says of an option,
/// with the element's place.
pub fn parse(json: &str) -> Result<Vec<Item>> {
    if !json.starts_with('[') {
        return Err(Error::invalid(TASKS, "must be a JSON array of objects"));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json)
        .map_err(|error| Error::invalid(TASKS, format!("cannot be read: {error}")))?;
    let item = |(index, element): (usize, &&RawValue)| {
        read(element.get()).map_err(|error| error.at(TASKS, index))
    };
    elements.iter().enumerate().map(item).collect()
}

fn read(json: &str) -> Result<Item> {
    let rule = "must be an object of task_name, params and options";
    if !json.starts_with('{') {
        return Err(Error::invalid(format!("element {json}"), rule));
    }
    let fields: Fields = serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        match text.split('`').nth(1) {
            Some(member) => Error::invalid(format!("member \"{member}\""), "is unknown")
                .with_hint("Members are task_name, params and options."),
            None => Error::invalid("element", rule),
        }
    })?;
    let name = match fields.task_name {
        None => return Err(Error::null("task_name")),
        Some(Value::String(name)) => spawn::check_name(Some(&name))?.to_owned(),
        Some(other) => {
            return Err(Error::invalid(format!("task_name {other}"), "must be a string"));
        }
    };
    let raw_options = fields.options.map(|options| options.get().to_owned());
    let options = SpawnOptions::parse(raw_options.as_deref().unwrap_or("{}"))?;
    Ok(Item {
        name,
        params: fields.params.map(|params| params.get().to_owned()),
        raw_options,
        options,
    })
}

static SPAWN_MANY: Statement = Statement::new(include_str!("../../sql/task/spawn_many.sql"));

/// Spawns tasks, in one statement but for those with an idempotency key; returns them in the order
/// of `items`. `links` are the workflow runs that they belong to, resolved and locked.
///
/// Keys are taken in one order, so that two batches with the same keys do not wait for each other
/// in a circle; of two elements with the same key the first makes the task.
///
/// # Errors
/// As [`spawn::run`], with the element's place.
pub fn spawn(
    session: &Session,
    queue: &QueueName,
    json: Jsonb,
    items: &[Item],
    links: &[Option<Uuid>],
) -> Result<Vec<Spawned>> {
    let now = session.now();
    let mut spawned = Vec::with_capacity(items.len());
    let mut starts = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = spawn::start(now, &item.options.start).map_err(|e| e.at(TASKS, index))?;
        starts.push(at);
        spawned.push(Spawned {
            task_id: session.new_id()?,
            run_id: Some(session.new_id()?),
            attempt: 1,
            created: true,
        });
    }
    let keyed = |item: &Item| item.options.idempotency_key.is_some();
    if !items.iter().all(keyed) {
        let of = |index: usize| (!keyed(&items[index])).then(|| spawned[index].task_id);
        let values = params![
            json,
            (0..items.len()).map(of).collect::<Vec<_>>(),
            spawned.iter().map(|task| task.run_id).collect::<Vec<_>>(),
            items.iter().map(|item| item.options.max_attempts).collect::<Vec<_>>(),
            starts.iter().copied().map(Some).collect::<Vec<Option<Timestamp>>>(),
            items.iter().map(|item| item.options.tenant_id.clone()).collect::<Vec<_>>(),
            links.to_vec(),
            items.iter().map(|item| Some(item.options.priority)).collect::<Vec<_>>(),
            now,
        ];
        let count = items.iter().filter(|item| !keyed(item)).count();
        session.change(&SPAWN_MANY, queue, values, (count, "{t} or {r}"))?;
        ready::announce_all(session, queue, &starts)?;
    }
    let mut by_key: Vec<usize> = (0..items.len()).filter(|index| keyed(&items[*index])).collect();
    by_key
        .sort_by(|a, b| items[*a].options.idempotency_key.cmp(&items[*b].options.idempotency_key));
    for index in by_key {
        let item = &items[index];
        let order = Order {
            name: &item.name,
            params: Jsonb::from_text(item.params.as_deref().unwrap_or("null"))?,
            raw_options: Jsonb::from_text(item.raw_options.as_deref().unwrap_or("{}"))?,
            options: &item.options,
            workflow_run: links[index],
            ids: spawned[index].run_id.map(|run| (spawned[index].task_id, run)),
        };
        spawned[index] = spawn::run(session, queue, &order).map_err(|e| e.at(TASKS, index))?;
    }
    Ok(spawned)
}

static COMPLETE_MANY: Statement = Statement::new(include_str!("../../sql/task/complete_many.sql"));

/// Completes running runs and their tasks, each with its payload. Returns the places of those that
/// it refused: they are not running, or steps of a workflow run follow their tasks.
///
/// # Errors
/// 22023 for a run that stands in the list twice.
pub fn complete(
    session: &Session,
    queue: &QueueName,
    runs: &[Uuid],
    payloads: Vec<Option<Jsonb>>,
) -> Result<Vec<usize>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    check_distinct(runs)?;
    // In one order, so that two batches with the same runs do not wait for each other in a circle.
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_unstable_by_key(|index| *runs[*index].as_bytes());
    let values = params![
        order.iter().map(|index| runs[*index]).collect::<Vec<_>>(),
        order.iter().map(|index| payloads.get(*index).copied().flatten()).collect::<Vec<_>>(),
        session.now(),
    ];
    let done = session
        .run(&COMPLETE_MANY, queue, values)?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<std::collections::HashSet<Uuid>>>()?;
    Ok((0..runs.len()).filter(|index| !done.contains(&runs[*index])).collect())
}

/// The argument of complete_runs and fail_runs, as its errors name it.
pub const RUNS: &str = "p_run_ids";

/// Checks that no run stands in a list twice.
///
/// # Errors
/// 22023 naming the second place.
pub fn check_distinct(runs: &[Uuid]) -> Result<()> {
    let mut seen = std::collections::HashSet::with_capacity(runs.len());
    match runs.iter().position(|run| !seen.insert(run)) {
        None => Ok(()),
        Some(index) => {
            Err(Error::invalid(format!("run \"{}\"", runs[index]), "stands in the list twice")
                .at(RUNS, index))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read() {
        let items = parse(r#"[{"task_name":"a","params":{"x":1}},{"task_name":"b","options":{"max_attempts":2}}]"#)
            .unwrap();
        assert_eq!(items[0].name, "a");
        assert_eq!(items[0].params.as_deref(), Some(r#"{"x":1}"#));
        assert_eq!(items[1].options.max_attempts, Some(2));
        assert!(parse("[]").unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_element() {
        for (json, named, code) in [
            ("{}", "p_tasks must be", "22023"),
            (r#"[{"task_name":"a"},7]"#, "p_tasks[1]: element 7", "22023"),
            (r#"[{"params":{}}]"#, "p_tasks[0]: task_name", "22004"),
            (r#"[{"task_name":" "}]"#, "p_tasks[0]: task_name", "22023"),
            (r#"[{"task_name":7}]"#, "p_tasks[0]: task_name 7", "22023"),
            (r#"[{"task_name":"a","name":"b"}]"#, "p_tasks[0]: member \"name\"", "22023"),
            (r#"[{"task_name":"a","options":{"priority":9}}]"#, "p_tasks[0]: option", "22023"),
            (r#"[{"task_name":"a","options":{"retry_strategy":1}}]"#, "p_tasks[0]: ", "AB003"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.to_string().starts_with(named), "{json}: {error}");
            assert_eq!(error.sqlstate(), code, "{json}");
        }
    }
}
