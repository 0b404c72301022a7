//! Reading documents and the fields that all operators have in common (HIGHWAY 1 and 2).

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::fields::{Choice, Fields, broken, is_null, place, read};
use super::{Checked, Document, Kind, MAX_ID, MAX_NAME, MAX_OPERATORS, Step};
use crate::error::Result;
use crate::workflow::bounds::{Check, cut};
use crate::workflow::datetime;
use crate::workflow::guard::Guard;
use crate::workflow::policy::{BreakerPolicy, RetryPolicy, TimeoutPolicy};
use crate::workflow::program::{DeadlineAction, TriggerRule};
use crate::workflow::schedule::Cron;

const RULES: &[(&str, TriggerRule)] = &[
    ("all_success", TriggerRule::AllSuccess),
    ("all_done", TriggerRule::AllDone),
    ("one_success", TriggerRule::OneSuccess),
    ("one_done", TriggerRule::OneDone),
    ("none_failed", TriggerRule::NoneFailed),
];

const ACTIONS: &[(&str, DeadlineAction)] =
    &[("fail", DeadlineAction::Fail), ("cancel", DeadlineAction::Cancel)];

/// Reads one document; counts its operators.
pub struct Reader<'c> {
    operators: usize,
    check: Check<'c>,
    /// What looks like a mistake and is none to refuse, if that is asked for.
    pub lints: Option<Vec<String>>,
}

/// Lints that one document has at most.
const MOST_LINTS: usize = 20;

impl<'c> Reader<'c> {
    /// A reader that asks before each operator whether to go on, and notes lints or does not.
    pub fn new(check: Check<'c>, lints: bool) -> Self {
        Self { operators: 0, check, lints: lints.then(Vec::new) }
    }

    pub fn document(&mut self, text: &str) -> Result<Document> {
        let fields = Fields::of_text("the workflow", text)?;
        let name = fields.required("name")?;
        if !is_name(&name) {
            let rule = "must be lower-case letters, digits and single underscores, a letter first";
            return Err(fields.wrong("name", rule));
        }
        let version = fields.text_or("version", "2.0.0")?;
        if !is_version(&version) {
            let rule = "must be letters, digits, \".\", \"-\" and single underscores";
            return Err(fields.wrong("version", rule));
        }
        for (field, text) in [("name", &name), ("version", &version)] {
            if text.len() > MAX_NAME {
                return Err(fields.wrong(field, &format!("must have at most {MAX_NAME} bytes")));
            }
        }
        let tasks = self.tasks(&fields, "")?;
        let start_task = fields.nullable("start_task")?;
        if start_task.as_ref().is_some_and(|id| !tasks.contains_key(id)) {
            return Err(fields.wrong("start_task", "must be the id of a task"));
        }
        let schedule = fields.nullable("schedule")?;
        if let Some(text) = &schedule {
            Cron::parse(text).map_err(|rule| fields.broken(rule))?;
        }
        let start_date = fields.nullable("start_date")?;
        if start_date.as_deref().is_some_and(|text| datetime::parse(text).is_none()) {
            return Err(fields.wrong("start_date", "must be an ISO 8601 date and time"));
        }
        let max_active_runs = fields.integer("max_active_runs", 1)?;
        if max_active_runs < 1 {
            return Err(fields.wrong("max_active_runs", "must be at least 1"));
        }
        let deadline_seconds = fields.seconds("deadline_seconds")?;
        if deadline_seconds.is_some_and(|seconds| seconds < 1) {
            return Err(fields.wrong("deadline_seconds", "must be greater than 0"));
        }
        let document = Document {
            name,
            version,
            description: fields.text_or("description", "")?,
            tasks,
            variables: fields.object("variables")?,
            start_task,
            schedule,
            start_date,
            catchup: fields.flag("catchup")?,
            is_paused: fields.flag("is_paused")?,
            tags: fields.strings("tags")?,
            max_active_runs,
            default_retry_policy: policy(&fields, "default_retry_policy", RetryPolicy::parse)?,
            deadline_seconds,
            deadline_action: fields.choice("deadline_action", ACTIONS)?,
        };
        self.lint(&fields);
        Ok(document)
    }

    /// Notes fields of an object that was read which nobody asked for and somebody may have meant.
    fn lint(&mut self, fields: &Fields) {
        let Some(lints) = &mut self.lints else { return };
        for (field, meant) in fields.misspelt() {
            if lints.len() < MOST_LINTS {
                let said = format!("has a field \"{}\", which means nothing", cut(field));
                lints.push(format!("{}: {said}; is \"{meant}\" meant?", fields.place));
            }
        }
    }

    /// Reads a branch's document. Only its tasks, variables and default retry policy mean anything;
    /// other fields are kept as far as they are of their type, and never refused.
    pub fn branch(&mut self, value: &RawValue, path: &str) -> Result<Document> {
        let of = place(path.trim_end_matches('/'));
        let fields = Fields::of(&of, value)?;
        let text = |field, default| fields.text_or(field, default).unwrap_or_default();
        let nullable = |field| fields.nullable(field).unwrap_or_default();
        let flag = |field| fields.flag(field).unwrap_or_default();
        let (name, value) = ACTIONS[0];
        let action = fields.choice("deadline_action", ACTIONS);
        Ok(Document {
            name: text("name", ""),
            version: text("version", "2.0.0"),
            description: text("description", ""),
            tasks: self.tasks(&fields, path)?,
            variables: fields.object("variables")?,
            start_task: nullable("start_task"),
            schedule: nullable("schedule"),
            start_date: nullable("start_date"),
            catchup: flag("catchup"),
            is_paused: flag("is_paused"),
            tags: fields.strings("tags").unwrap_or_default(),
            max_active_runs: fields.integer("max_active_runs", 1).unwrap_or(1),
            default_retry_policy: policy(&fields, "default_retry_policy", RetryPolicy::parse)?,
            deadline_seconds: fields.seconds("deadline_seconds").unwrap_or_default(),
            deadline_action: action.unwrap_or(Choice { name, value }),
        })
    }

    fn tasks(&mut self, fields: &Fields, path: &str) -> Result<BTreeMap<String, Box<Step>>> {
        let mut tasks = BTreeMap::new();
        for (id, value) in fields.members("tasks")? {
            let step = self.step(value, path, Some(&id))?;
            tasks.insert(id, Box::new(step));
        }
        Ok(tasks)
    }

    /// Reads an operator that stands under a key, or in a loop's body.
    pub fn step(&mut self, value: &RawValue, path: &str, key: Option<&str>) -> Result<Step> {
        (self.check)()?;
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            let rule = format!("must have at most {MAX_OPERATORS} operators");
            return Err(broken("the workflow", format!("{rule}, repeated loop bodies included")));
        }
        let unnamed = place(&format!("{path}{}", key.unwrap_or("?")));
        let mut fields = Fields::of(&unnamed, value)?;
        let task_id = fields.required("task_id")?;
        let path = format!("{path}{}", key.unwrap_or(&task_id));
        let named = key.is_none().then(|| place(&path));
        fields.place = named.as_deref().unwrap_or(&unnamed);
        if key.is_some_and(|key| key != task_id) {
            return Err(fields.wrong("task_id", "must be the key that the task stands under"));
        }
        let kind = Kind::read(&fields, &path, self)?;
        let step = Step {
            dependencies: fields.strings("dependencies")?,
            trigger_rule: fields.choice("trigger_rule", RULES)?,
            retry_policy: policy(&fields, "retry_policy", RetryPolicy::parse)?,
            timeout_policy: policy(&fields, "timeout_policy", TimeoutPolicy::parse)?,
            circuit_breaker_policy: policy(
                &fields,
                "circuit_breaker_policy",
                BreakerPolicy::parse,
            )?,
            idempotency_key: fields.nullable("idempotency_key")?,
            metadata: fields.object("metadata")?,
            description: fields.text_or("description", "")?,
            result_key: fields.nullable("result_key")?,
            on_success_task_id: fields.nullable("on_success_task_id")?,
            on_failure_task_id: fields.nullable("on_failure_task_id")?,
            is_internal_loop_task: fields.flag("is_internal_loop_task")?,
            is_internal_parallel_task: fields.flag("is_internal_parallel_task")?,
            preconditions: self.guards(&fields, "preconditions")?,
            postconditions: self.guards(&fields, "postconditions")?,
            task_id,
            kind,
        };
        for (field, text) in
            [("task_id", Some(&step.task_id)), ("result_key", step.result_key.as_ref())]
        {
            if text.is_some_and(|text| text.len() > MAX_ID) {
                return Err(fields.wrong(field, &format!("must have at most {MAX_ID} bytes")));
            }
        }
        step.check(&fields)?;
        self.lint(&fields);
        Ok(step)
    }

    /// A pattern in a guard may take milliseconds to compile.
    fn guards(&self, fields: &Fields, field: &'static str) -> Result<Vec<Checked>> {
        let mut guards = Vec::new();
        for value in fields.array(field)? {
            (self.check)()?;
            guards.push(guard(fields, field, &read(fields.place, value)?)?);
        }
        Ok(guards)
    }
}

impl Step {
    /// What a task may not say about itself (HIGHWAY 3.6).
    fn check(&self, fields: &Fields) -> Result<()> {
        let itself = |ids: &[String]| ids.contains(&self.task_id);
        if itself(&self.dependencies) {
            return Err(fields.broken("depends on itself"));
        }
        match &self.kind {
            Kind::Join { join_tasks, .. } if itself(join_tasks) => {
                Err(fields.broken("joins itself"))
            }
            kind if kind.targets().contains(&&*self.task_id) => {
                Err(fields.broken("leads to itself"))
            }
            _ => Ok(()),
        }
    }
}

fn policy<T>(
    fields: &Fields,
    field: &'static str,
    parse: impl Fn(&Value) -> std::result::Result<T, String>,
) -> Result<Option<T>> {
    match fields.get(field) {
        None => Ok(None),
        Some(value) if is_null(value) => Ok(None),
        Some(value) => {
            let value: Value = read(fields.place, value)?;
            parse(&value).map(Some).map_err(|rule| fields.broken(rule))
        }
    }
}

fn guard(fields: &Fields, field: &str, value: &Value) -> Result<Checked> {
    let guard = Guard::parse(value).map_err(|rule| fields.broken(format!("{field}: {rule}")))?;
    let of = |field| value.get(field).unwrap_or(&Value::Null);
    let message = value.get("message").and_then(Value::as_str).unwrap_or_default();
    let written = to_raw_value(&json!({
        "variable": of("variable"),
        "check": of("check"),
        "value": of("value"),
        "message": message,
    }));
    let written = written.map_err(|error| fields.broken(error))?;
    Ok(Checked { guard, written })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !text.contains("__")
}

fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !text.contains("__")
}
