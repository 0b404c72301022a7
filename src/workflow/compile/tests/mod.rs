//! What documents compile to, and which are refused.

mod exports;
mod layouts;
mod names;
mod operators;
mod rejects;
mod rules;
mod total;

use serde_json::{Map, Value, json};

use super::compile;
use crate::workflow::program::{Node, NodeIx, Program, ScopeKind};

/// A document of tasks.
pub fn document(tasks: Value) -> Value {
    json!({"name": "w", "tasks": tasks})
}

/// Tasks written one a line: `id: dependency dependency ?true,false` is a condition, `!a,b` a
/// switch with cases `0`, `1`, `&a,b` a join; `+h` and `-h` are handlers of success and failure.
pub fn tasks(lines: &str) -> Map<String, Value> {
    lines.split(';').map(str::trim).filter(|line| !line.is_empty()).map(task).collect()
}

pub fn task(line: &str) -> (String, Value) {
    let (id, rest) = line.split_once(':').unwrap_or((line, ""));
    let mut task = json!({"task_id": id, "operator_type": "task", "function": "f"});
    let mut dependencies = Vec::new();
    for word in rest.split_whitespace() {
        let ids = || word[1..].split(',').filter(|id| !id.is_empty());
        match word.as_bytes()[0] {
            b'?' => {
                let mut ids = ids().map(|id| if id == "_" { Value::Null } else { json!(id) });
                task["operator_type"] = json!("condition");
                task["condition"] = json!("true");
                task["if_true"] = ids.next().unwrap();
                task["if_false"] = ids.next().unwrap();
            }
            b'!' => {
                let cases = ids().enumerate().map(|(at, id)| (at.to_string(), json!(id)));
                task["operator_type"] = json!("switch");
                task["switch_on"] = json!("{{x}}");
                task["cases"] = cases.collect::<Map<_, _>>().into();
            }
            b'&' => {
                task["operator_type"] = json!("join");
                task["join_tasks"] = ids().collect();
            }
            b'+' => task["on_success_task_id"] = json!(&word[1..]),
            b'-' => task["on_failure_task_id"] = json!(&word[1..]),
            _ => dependencies.push(word),
        }
    }
    task["dependencies"] = json!(dependencies);
    (id.to_owned(), task)
}

/// A task with other fields.
pub fn with(mut task: (String, Value), fields: Value) -> (String, Value) {
    for (key, value) in fields.as_object().unwrap() {
        task.1[key] = value.clone();
    }
    task
}

pub fn foreach(line: &str, body: &Map<String, Value>) -> (String, Value) {
    with(task(line), json!({"operator_type": "foreach", "items": "{{x}}", "loop_body": list(body)}))
}

pub fn repeated(line: &str, body: &Map<String, Value>) -> (String, Value) {
    let fields = json!({"operator_type": "while", "condition": "{{x}}", "loop_body": list(body)});
    with(task(line), fields)
}

pub fn parallel(line: &str, branches: Value, workflows: Value) -> (String, Value) {
    let fields =
        json!({"operator_type": "parallel", "branches": branches, "branch_workflows": workflows});
    with(task(line), fields)
}

/// A branch's document.
pub fn branch(lines: &str) -> Value {
    json!({"name": "b", "tasks": tasks(lines), "start_task": null})
}

/// A task inside of a loop as the builder marks it.
pub fn marked(mut tasks: Map<String, Value>) -> Map<String, Value> {
    tasks.values_mut().for_each(|task| task["is_internal_loop_task"] = json!(true));
    tasks
}

pub fn list(tasks: &Map<String, Value>) -> Value {
    tasks.values().cloned().collect()
}

pub fn compiled(tasks: impl Into<Value>) -> Program {
    let document = document(tasks.into());
    compile(&document).unwrap_or_else(|error| panic!("{document}: {error}"))
}

pub fn refusal(tasks: impl Into<Value>) -> String {
    let document = document(tasks.into());
    match compile(&document) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted: {document}"),
    }
}

/// A node's path: `fork.a/x`, `each[]/x`.
pub fn path(program: &Program, ix: NodeIx) -> String {
    let node = program.node(ix);
    let before = match &program.scope(node.scope).kind {
        ScopeKind::Root => String::new(),
        ScopeKind::Branch { container, name } => format!("{}.{name}/", path(program, *container)),
        ScopeKind::Body { container } => format!("{}[]/", path(program, *container)),
    };
    before + &node.id
}

pub fn paths(program: &Program, nodes: &[NodeIx]) -> String {
    let paths: Vec<String> = nodes.iter().map(|ix| path(program, *ix)).collect();
    paths.join(" ")
}

pub fn at<'p>(program: &'p Program, wanted: &str) -> &'p Node {
    let mut all = (0..program.nodes.len() as u32).map(NodeIx);
    let ix = all.find(|ix| path(program, *ix) == wanted).unwrap_or_else(|| panic!("{wanted}"));
    program.node(ix)
}

/// Whether nodes of a scope wait for nodes inside the branches below it.
pub fn reaches_in(program: &Program, scope: u32) -> bool {
    let nodes = &program.scopes[scope as usize].nodes;
    nodes.clone().any(|ix| {
        let before = &program.node(NodeIx(ix)).predecessors;
        before.dependencies.iter().chain(&before.inputs).any(|before| !nodes.contains(&before.0))
    })
}

/// The effective predecessors of every node that has some, one a line: `id: dependencies`, then
/// routers after `<`, inputs after `&`, referrers after `@`.
pub fn effective(program: &Program) -> Vec<String> {
    let mut lines = Vec::new();
    for ix in (0..program.nodes.len() as u32).map(NodeIx) {
        let before = &program.node(ix).predecessors;
        let mut line = format!("{}:", path(program, ix));
        for (sign, list) in [
            ("", &before.dependencies),
            ("<", &before.routers),
            ("&", &before.inputs),
            ("@", &before.referrers),
        ] {
            for node in list {
                line += &format!(" {sign}{}", path(program, *node));
            }
        }
        if !line.ends_with(':') {
            lines.push(line);
        }
    }
    lines.sort();
    lines
}
