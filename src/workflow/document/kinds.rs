//! The fields that belong to one operator each (HIGHWAY 6).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::fields::{Choice, Fields, Free, broken, is_null, written};
use super::read::Reader;
use super::{Document, MAX_ID, Step};
use crate::error::Result;
use crate::workflow::bounds::cut;
use crate::workflow::duration;
use crate::workflow::number::Number;
use crate::workflow::operator::{JoinMode, TerminateStatus};

/// An operator's type with its own fields.
#[derive(Debug, Serialize)]
#[serde(tag = "operator_type", rename_all = "snake_case")]
pub enum Kind {
    Task(Call),
    Activity(Call),
    Condition {
        condition: String,
        if_true: Option<String>,
        if_false: Option<String>,
    },
    Switch {
        switch_on: String,
        cases: BTreeMap<String, String>,
        default: Option<String>,
    },
    Wait {
        wait_for: String,
    },
    Parallel {
        branches: BTreeMap<String, Vec<String>>,
        branch_workflows: BTreeMap<String, Document>,
        timeout: Option<i64>,
    },
    MultiChoice {
        branches: BTreeMap<String, Branch>,
        branch_workflows: BTreeMap<String, Document>,
        minimum_branches: i64,
        timeout: Option<i64>,
    },
    Foreach {
        items: String,
        loop_body: Vec<Step>,
        parallel: bool,
        dynamic: bool,
    },
    While {
        condition: String,
        loop_body: Vec<Step>,
    },
    EmitEvent {
        event_name: String,
        payload: Free,
    },
    WaitForEvent {
        event_name: String,
        timeout_seconds: Option<i64>,
    },
    Join {
        join_tasks: Vec<String>,
        join_mode: Choice<JoinMode>,
    },
    Reflexive {
        generator: String,
        generator_kwargs: Free,
        verifier: String,
        verifier_kwargs: Free,
        max_turns: i64,
        correction_prompt_template: Option<String>,
    },
    Terminate {
        status: Choice<TerminateStatus>,
        result: Free,
        reason: String,
    },
    ChildWorkflow {
        children: BTreeMap<String, Child>,
        timeout_seconds: Option<i64>,
    },
}

#[derive(Debug, Serialize)]
pub struct Call {
    pub function: String,
    pub args: Free,
    pub kwargs: Free,
}

/// A branch of a multi_choice.
#[derive(Debug, Serialize)]
pub struct Branch {
    pub condition: String,
    pub tasks: Vec<String>,
}

/// What a branch consists of: ids in the map around its container, a document of its own, or both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content<'a> {
    pub listed: &'a [String],
    pub document: Option<&'a Document>,
}

#[derive(Debug, Serialize)]
pub struct Child {
    pub workflow_name: String,
    /// An object, or text whose templates make one.
    pub inputs: Free,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

const MODES: &[(&str, JoinMode)] = &[
    ("all_of", JoinMode::AllOf),
    ("any_of", JoinMode::AnyOf),
    ("all_success", JoinMode::AllSuccess),
    ("one_success", JoinMode::OneSuccess),
];

const STATUSES: &[(&str, TerminateStatus)] = &[
    ("completed", TerminateStatus::Completed),
    ("failed", TerminateStatus::Failed),
    ("cancelled", TerminateStatus::Cancelled),
];

impl Kind {
    /// Reads the fields of the operator that `operator_type` names.
    ///
    /// # Errors
    /// 22023: `Unknown operator type: X`, or the field and its rule.
    pub(super) fn read(fields: &Fields, path: &str, reader: &mut Reader<'_>) -> Result<Self> {
        let unknown = |name: &str| fields.broken(format!("Unknown operator type: {name}"));
        Ok(match fields.get("operator_type") {
            None => return Err(unknown("None")),
            Some(value) if is_null(value) => return Err(unknown("None")),
            Some(value) if !value.get().starts_with('"') => return Err(unknown(&written(value))),
            Some(_) => match &*fields.required("operator_type")? {
                "task" => Self::Task(Call::read(fields)?),
                "activity" => Self::Activity(Call::read(fields)?),
                "condition" => Self::Condition {
                    condition: fields.required("condition")?,
                    if_true: fields.nullable("if_true")?,
                    if_false: fields.nullable("if_false")?,
                },
                "switch" => Self::Switch {
                    switch_on: fields.required("switch_on")?,
                    cases: cases(fields)?,
                    default: fields.nullable("default")?,
                },
                "wait" => Self::Wait { wait_for: wait_for(fields)? },
                "parallel" => Self::Parallel {
                    branches: branches(fields)?,
                    branch_workflows: workflows(fields, path, reader)?,
                    timeout: fields.seconds("timeout")?,
                },
                "multi_choice" => Self::multi_choice(fields, path, reader)?,
                "foreach" => Self::Foreach {
                    items: fields.required("items")?,
                    loop_body: body(fields, path, reader)?,
                    parallel: fields.flag("parallel")?,
                    dynamic: fields.flag("dynamic")?,
                },
                "while" => Self::While {
                    condition: fields.required("condition")?,
                    loop_body: body(fields, path, reader)?,
                },
                "emit_event" => Self::EmitEvent {
                    event_name: fields.required("event_name")?,
                    payload: fields.object("payload")?,
                },
                "wait_for_event" => Self::WaitForEvent {
                    event_name: fields.required("event_name")?,
                    timeout_seconds: fields.seconds("timeout_seconds")?,
                },
                "join" => {
                    fields
                        .get("join_tasks")
                        .ok_or_else(|| fields.wrong("join_tasks", "is required"))?;
                    Self::Join {
                        join_tasks: fields.strings("join_tasks")?,
                        join_mode: fields.choice("join_mode", MODES)?,
                    }
                }
                "reflexive" => Self::reflexive(fields)?,
                "terminate" => Self::Terminate {
                    status: fields.choice("status", STATUSES)?,
                    result: fields.object("result")?,
                    reason: fields.text_or("reason", "")?,
                },
                "child_workflow" => Self::ChildWorkflow {
                    children: children(fields)?,
                    timeout_seconds: fields.seconds("timeout_seconds")?,
                },
                other => return Err(unknown(&cut(other))),
            },
        })
    }

    fn multi_choice(fields: &Fields, path: &str, reader: &mut Reader<'_>) -> Result<Self> {
        if fields.get("branches").is_none() {
            return Err(fields.wrong("branches", "is required"));
        }
        let mut branches = BTreeMap::new();
        for (name, branch) in fields.members("branches")? {
            let place = format!("{}, branch '{}'", fields.place, cut(&name));
            let branch = Fields::of(&place, branch)?;
            let tasks = branch.strings("tasks")?;
            let branch = Branch { condition: branch.required("condition")?, tasks };
            branches.insert(branch_name(fields, &name)?, branch);
        }
        let branch_workflows = workflows(fields, path, reader)?;
        if let Some(name) = branch_workflows.keys().find(|name| !branches.contains_key(*name)) {
            let rule = "has a document but no condition";
            return Err(fields.broken(format!("branch '{}' {rule}", cut(name))));
        }
        let minimum_branches = fields.integer("minimum_branches", 1)?;
        if minimum_branches < 0 {
            return Err(fields.wrong("minimum_branches", "must not be negative"));
        }
        let timeout = fields.seconds("timeout")?;
        Ok(Self::MultiChoice { branches, branch_workflows, minimum_branches, timeout })
    }

    fn reflexive(fields: &Fields) -> Result<Self> {
        let max_turns = fields.integer("max_turns", 3)?;
        if !(1..=10).contains(&max_turns) {
            return Err(fields.wrong("max_turns", "must be an integer from 1 to 10"));
        }
        Ok(Self::Reflexive {
            generator: fields.required("generator")?,
            generator_kwargs: fields.object("generator_kwargs")?,
            verifier: fields.required("verifier")?,
            verifier_kwargs: fields.object("verifier_kwargs")?,
            max_turns,
            correction_prompt_template: fields.nullable("correction_prompt_template")?,
        })
    }

    /// The body of a loop; none for other operators.
    pub fn loop_body(&self) -> Option<&[Step]> {
        match self {
            Self::Foreach { loop_body, .. } | Self::While { loop_body, .. } => Some(loop_body),
            _ => None,
        }
    }

    /// The branches of a parallel or multi_choice by name; none for other operators.
    pub fn branches(&self) -> Option<BTreeMap<&str, Content<'_>>> {
        let mut contents = BTreeMap::<&str, Content>::new();
        let documents = match self {
            Self::Parallel { branches, branch_workflows, .. } => {
                for (name, ids) in branches {
                    contents.entry(name).or_default().listed = ids;
                }
                branch_workflows
            }
            Self::MultiChoice { branches, branch_workflows, .. } => {
                for (name, branch) in branches {
                    contents.entry(name).or_default().listed = &branch.tasks;
                }
                branch_workflows
            }
            _ => return None,
        };
        for (name, document) in documents {
            contents.entry(name).or_default().document = Some(document);
        }
        Some(contents)
    }

    /// Where a router may lead, in the order of the document's fields.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::Condition { if_true, if_false, .. } => {
                if_true.iter().chain(if_false).map(String::as_str).collect()
            }
            Self::Switch { cases, default, .. } => {
                cases.values().chain(default).map(String::as_str).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Call {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            function: fields.required("function")?,
            args: fields.free_array("args")?,
            kwargs: fields.object("kwargs")?,
        })
    }
}

fn cases(fields: &Fields) -> Result<BTreeMap<String, String>> {
    let case = |(text, target): (String, &RawValue)| match serde_json::from_str(target.get()) {
        Ok(target) => Ok((text, target)),
        Err(_) => Err(fields.wrong("cases", "must map texts to ids of tasks")),
    };
    fields.members("cases")?.into_iter().map(case).collect()
}

/// Text or a number of seconds. What is a duration gets the form that the exporter writes.
fn wait_for(fields: &Fields) -> Result<String> {
    let number = fields.get("wait_for").map(RawValue::get);
    let number = number.filter(|text| text.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
    let (text, seconds) = match number {
        Some(number) => (number.to_owned(), Number::parse(number)),
        None => {
            let text = fields.required("wait_for")?;
            let number = Number::parse(&text);
            let seconds = number.or_else(|| duration::parse_iso(text.trim()).map(Number::Float));
            (text, seconds)
        }
    };
    let seconds = seconds.map(Number::to_f64).and_then(duration::bounded);
    Ok(seconds.map_or(text, duration::canonical))
}

fn branch_name(fields: &Fields, name: &str) -> Result<String> {
    if name.len() > MAX_ID {
        let rule = format!("must have at most {MAX_ID} bytes");
        return Err(fields.broken(format!("the name of a branch {rule}, it has {}", name.len())));
    }
    Ok(name.to_owned())
}

fn branches(fields: &Fields) -> Result<BTreeMap<String, Vec<String>>> {
    let wrong = || fields.wrong("branches", "must map names to arrays of ids of tasks");
    let mut branches = BTreeMap::new();
    for (name, ids) in fields.members("branches")? {
        let ids: Vec<String> = serde_json::from_str(ids.get()).map_err(|_| wrong())?;
        branches.insert(branch_name(fields, &name)?, ids);
    }
    Ok(branches)
}

fn workflows(
    fields: &Fields,
    path: &str,
    reader: &mut Reader<'_>,
) -> Result<BTreeMap<String, Document>> {
    let mut documents = BTreeMap::new();
    for (name, document) in fields.members("branch_workflows")? {
        let document = reader.branch(document, &format!("{path}.{name}/"))?;
        documents.insert(branch_name(fields, &name)?, document);
    }
    Ok(documents)
}

fn body(fields: &Fields, path: &str, reader: &mut Reader<'_>) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let path = format!("{path}[]/");
    for value in fields.array("loop_body")? {
        let step = reader.step(value, &path, None)?;
        if !ids.insert(step.task_id.clone()) {
            let twice = format!("loop_body holds the task '{}' twice", cut(&step.task_id));
            return Err(fields.broken(twice));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn children(fields: &Fields) -> Result<BTreeMap<String, Child>> {
    let mut children = BTreeMap::new();
    for (name, child) in fields.members("children")? {
        let place = format!("{}, child '{}'", fields.place, cut(&name));
        let child = Fields::of(&place, child)?;
        let inputs = child.get("inputs").filter(|inputs| !is_null(inputs));
        if inputs.is_some_and(|inputs| !inputs.get().starts_with(['{', '"'])) {
            return Err(broken(&place, "inputs must be an object"));
        }
        let inputs = Free::of(inputs, "{}");
        let workflow_name = child.required("workflow_name")?;
        let version = child.nullable("version")?;
        children.insert(branch_name(fields, &name)?, Child { workflow_name, inputs, version });
    }
    Ok(children)
}
