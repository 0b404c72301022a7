//! Documents for the property tests: every operator, nested, with dependencies into branches,
//! routers, handlers and guards.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::player::{branches, choices, document, node, with};

#[derive(Clone, Debug)]
pub struct Spec {
    kind: Kind,
    dependencies: Vec<Index>,
    /// A dependency into a branch, when there is one before.
    reach: Option<Index>,
    rule: usize,
    on_success: Option<Index>,
    on_failure: Option<Index>,
    /// Whether the step has a guard, and whether that holds.
    guard: Option<bool>,
    limit: Option<u8>,
}

#[derive(Clone, Debug)]
enum Kind {
    Task(u8),
    Activity,
    Reflexive,
    Condition(u8, Option<Index>, Option<Index>),
    Switch(u8, Vec<Index>),
    Wait(u8),
    Emit(u8),
    Hear(u8),
    Join(usize, Vec<Index>),
    Terminate(usize),
    Children(u8),
    Parallel(Vec<Vec<Spec>>, bool),
    Choice(Vec<(u8, Vec<Spec>)>, u8),
    Foreach(u8, bool, Vec<Spec>),
    While(u8, Vec<Spec>),
}

/// The nodes of a scope, with so many levels of scopes inside.
pub fn scope(depth: u32) -> BoxedStrategy<Vec<Spec>> {
    prop::collection::vec(spec(depth), 1..6).boxed()
}

fn spec(depth: u32) -> impl Strategy<Value = Spec> {
    let dependencies = prop::collection::vec(any::<Index>(), 0..3);
    let handlers = (rarely(any::<Index>()), rarely(any::<Index>()));
    let rest =
        (rarely(any::<Index>()), 0..8usize, rarely(prop::bool::weighted(0.8)), rarely(1..9u8));
    (kind(depth), dependencies, handlers, rest).prop_map(|(kind, dependencies, handlers, rest)| {
        let ((on_success, on_failure), (reach, rule, guard, limit)) = (handlers, rest);
        Spec { kind, dependencies, reach, rule, on_success, on_failure, guard, limit }
    })
}

fn rarely<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(0.15, strategy)
}

fn kind(depth: u32) -> BoxedStrategy<Kind> {
    let target = || prop::option::weighted(0.8, any::<Index>());
    let some = || prop::collection::vec(any::<Index>(), 0..3);
    let leaf = prop_oneof![
        6 => (0..3u8).prop_map(Kind::Task),
        1 => Just(Kind::Activity),
        1 => Just(Kind::Reflexive),
        2 => (0..5u8, target(), target()).prop_map(|(c, yes, no)| Kind::Condition(c, yes, no)),
        1 => (0..4u8, some()).prop_map(|(on, cases)| Kind::Switch(on, cases)),
        1 => (0..4u8).prop_map(Kind::Wait),
        1 => (0..3u8).prop_map(Kind::Emit),
        1 => (0..3u8).prop_map(Kind::Hear),
        2 => (0..4usize, some()).prop_map(|(mode, inputs)| Kind::Join(mode, inputs)),
        1 => (0..30usize).prop_map(Kind::Terminate),
        1 => (0..3u8).prop_map(Kind::Children),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let body = || scope(depth - 1);
    let container = prop_oneof![
        (prop::collection::vec(body(), 0..4), any::<bool>())
            .prop_map(|(list, forks)| Kind::Parallel(list, forks)),
        (prop::collection::vec((0..5u8, body()), 1..4), 0..3u8)
            .prop_map(|(list, minimum)| Kind::Choice(list, minimum)),
        (0..4u8, any::<bool>(), body()).prop_map(|(n, side, body)| Kind::Foreach(n, side, body)),
        (0..3u8, body()).prop_map(|(times, body)| Kind::While(times, body)),
    ];
    prop_oneof![4 => leaf, 1 => container].boxed()
}

/// Makes documents of specifications.
pub struct Builder {
    next: u32,
    /// Whether the document may hold what depends on the order or the time of events.
    sensitive: bool,
}

const RULES: [&str; 5] = ["all_success", "all_done", "one_success", "one_done", "none_failed"];
const MODES: [&str; 4] = ["all_of", "all_success", "one_success", "any_of"];
const STATUSES: [&str; 3] = ["completed", "failed", "cancelled"];

impl Builder {
    pub fn document(specs: &[Spec], sensitive: bool) -> Value {
        let (nodes, _) = Self { next: 0, sensitive }.nodes(specs, None);
        document(Value::Array(nodes))
    }

    /// The nodes of a scope, and the ids of those inside its branches.
    fn nodes(&mut self, specs: &[Spec], container: Option<&str>) -> (Vec<Value>, Vec<String>) {
        let ids: Vec<String> = specs
            .iter()
            .map(|_| {
                self.next += 1;
                format!("n{}", self.next)
            })
            .collect();
        let (mut nodes, mut inside) = (Vec::new(), Vec::<String>::new());
        for (at, spec) in specs.iter().enumerate() {
            let id = &ids[at];
            let mut dependencies = earlier(&ids[..at], &spec.dependencies);
            if let Some(reach) = spec.reach.filter(|_| !inside.is_empty()) {
                dependencies.push(reach.get(&inside).clone());
            }
            let (operator, fields, more, below) =
                self.operator(id, spec, &ids[..at], &ids[at + 1..]);
            // The first nodes of a loop's body depend on the loop.
            dependencies.extend(container.map(str::to_owned));
            let names: Vec<&str> = dependencies.iter().map(String::as_str).collect();
            let mut made = with(node(id, operator, &names, fields), self.common(id, spec));
            for (field, handler) in
                [("on_success_task_id", spec.on_success), ("on_failure_task_id", spec.on_failure)]
            {
                let later = &ids[at + 1..];
                if let Some(handler) = handler.filter(|_| !later.is_empty()) {
                    made[field] = json!(handler.get(later));
                }
            }
            nodes.push(made);
            nodes.extend(more);
            inside.extend(below);
        }
        (nodes, inside)
    }

    fn common(&self, id: &str, spec: &Spec) -> Value {
        let mut common = json!({
            "trigger_rule": RULES.get(spec.rule).unwrap_or(&RULES[0]),
            "result_key": format!("k_{id}"),
        });
        if let Some(holds) = spec.guard {
            let name = if holds { "yes" } else { "no" };
            common["preconditions"] =
                json!([{"variable": format!("inputs.{name}"), "check": "equals", "value": true}]);
        }
        if let Some(limit) = spec.limit.filter(|_| self.sensitive) {
            common["timeout_policy"] = json!({"timeout": u32::from(limit) * 5});
        }
        common
    }

    fn operator(
        &mut self,
        id: &str,
        spec: &Spec,
        before: &[String],
        after: &[String],
    ) -> (&'static str, Value, Vec<Value>, Vec<String>) {
        let target = |index: &Option<Index>| {
            index.filter(|_| !after.is_empty()).map(|index| index.get(after).clone())
        };
        let args = json!(before.iter().map(|id| format!("{{{{{id}}}}}")).collect::<Vec<_>>());
        let plain = |operator, fields| (operator, fields, Vec::new(), Vec::new());
        match &spec.kind {
            Kind::Task(retries) => plain(
                "task",
                json!({"function": "f", "args": args,
                       "retry_policy": {"max_retries": retries, "delay": 7}}),
            ),
            Kind::Activity => plain("activity", json!({"function": "g", "args": args})),
            Kind::Reflexive => plain("reflexive", json!({"generator": "a", "verifier": "b"})),
            Kind::Condition(condition, yes, no) => {
                let yes = target(yes);
                let no = target(no).filter(|no| Some(no) != yes.as_ref());
                let condition = truth(*condition);
                plain("condition", json!({"condition": condition, "if_true": yes, "if_false": no}))
            }
            Kind::Switch(on, cases) => {
                let cases: serde_json::Map<String, Value> = cases
                    .iter()
                    .enumerate()
                    .filter_map(|(at, case)| Some((at.to_string(), target(&Some(*case))?.into())))
                    .collect();
                plain("switch", json!({"switch_on": on.to_string(), "cases": cases}))
            }
            Kind::Wait(tens) => plain("wait", json!({"wait_for": format!("{tens}0")})),
            Kind::Emit(event) => plain("emit_event", json!({"event_name": format!("ev{event}")})),
            Kind::Hear(event) => {
                let timeout = spec.limit.filter(|_| self.sensitive);
                let event = format!("ev{event}");
                plain("wait_for_event", json!({"event_name": event, "timeout_seconds": timeout}))
            }
            Kind::Join(mode, inputs) => {
                let mode = if self.sensitive { MODES[*mode] } else { MODES[*mode % 3] };
                let inputs = earlier(before, inputs);
                plain("join", json!({"join_mode": mode, "join_tasks": inputs}))
            }
            Kind::Terminate(status) if self.sensitive && *status < 3 => {
                plain("terminate", json!({"status": STATUSES[*status]}))
            }
            Kind::Terminate(_) => plain("task", json!({"function": "h"})),
            Kind::Children(count) => {
                let child = |at| (format!("c{at}"), json!({"workflow_name": "w"}));
                let children: serde_json::Map<String, Value> = (0..*count).map(child).collect();
                plain("child_workflow", json!({"children": children}))
            }
            Kind::Parallel(list, forks) => {
                let (fields, below) = self.branches(list);
                let mut more = Vec::new();
                if *forks {
                    let function = "tools.workflow.wait_for_parallel_branches";
                    let args = json!([format!("{{{{{id}}}}}")]);
                    let fields = json!({"function": function, "args": args,
                                        "kwargs": {"timeout_seconds": if self.sensitive { 25 } else { 1_000_000 }}});
                    more.push(node(&format!("{id}_join"), "task", &[id], fields));
                }
                ("parallel", fields, more, below)
            }
            Kind::Choice(list, minimum) => {
                let (mut made, mut below) = (Vec::new(), Vec::new());
                for (at, (condition, specs)) in list.iter().enumerate() {
                    let (nodes, deeper) = self.nodes(specs, None);
                    below.extend(ids_of(&nodes).chain(deeper));
                    made.push((format!("b{at}"), truth(*condition), Value::Array(nodes)));
                }
                let list: Vec<_> = made
                    .iter()
                    .map(|(name, c, nodes)| (name.as_str(), *c, nodes.clone()))
                    .collect();
                let fields = with(choices(&list), json!({"minimum_branches": minimum}));
                ("multi_choice", fields, Vec::new(), below)
            }
            Kind::Foreach(count, side, specs) => {
                let (body, _) = self.nodes(specs, Some(id));
                let items = format!("range({count})");
                plain("foreach", json!({"items": items, "parallel": side, "loop_body": body}))
            }
            Kind::While(times, specs) => {
                let (body, _) = self.nodes(specs, Some(id));
                let condition = format!("loop.index < {times}");
                plain("while", json!({"condition": condition, "loop_body": body}))
            }
        }
    }

    fn branches(&mut self, list: &[Vec<Spec>]) -> (Value, Vec<String>) {
        let (mut made, mut below) = (Vec::new(), Vec::new());
        for (at, specs) in list.iter().enumerate() {
            let (nodes, deeper) = self.nodes(specs, None);
            below.extend(ids_of(&nodes).chain(deeper));
            made.push((format!("b{at}"), Value::Array(nodes)));
        }
        let list: Vec<_> =
            made.iter().map(|(name, nodes)| (name.as_str(), nodes.clone())).collect();
        (branches(&list), below)
    }
}

fn ids_of(nodes: &[Value]) -> impl Iterator<Item = String> {
    nodes.iter().map(|node| node["task_id"].as_str().unwrap().to_owned())
}

fn earlier(before: &[String], indices: &[Index]) -> Vec<String> {
    let some = indices.iter().filter(|_| !before.is_empty());
    some.map(|index| index.get(before).clone()).collect()
}

/// Mostly true or false, sometimes an error.
fn truth(condition: u8) -> &'static str {
    ["inputs.yes", "{{inputs.yes}} == true", "inputs.no", "1 > 2", "'a' > 1"]
        [usize::from(condition)]
}
