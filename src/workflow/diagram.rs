//! A workflow as a Mermaid flowchart, and a run of it with its steps in the colours of their
//! states.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::operator::{JoinMode, Operator};
use super::program::{Node, NodeIx, Program, Role, ScopeIx, ScopeKind};
use super::step_state::StepState;

/// Fill and stroke of each state.
const COLOURS: [(StepState, &str, &str); 7] = [
    (StepState::Pending, "#f3f4f6", "#9ca3af"),
    (StepState::Running, "#dbeafe", "#2563eb"),
    (StepState::Completed, "#dcfce7", "#16a34a"),
    (StepState::Failed, "#fee2e2", "#dc2626"),
    (StepState::Skipped, "#ffffff", "#d1d5db"),
    (StepState::UpstreamFailed, "#ffedd5", "#ea580c"),
    (StepState::Cancelled, "#ede9fe", "#7c3aed"),
];

/// The state of each step by its path, and by its node for those that run once an iteration.
pub struct States {
    by_node: HashMap<NodeIx, Vec<StepState>>,
}

impl States {
    pub fn new(steps: impl IntoIterator<Item = (NodeIx, StepState)>) -> Self {
        let mut by_node: HashMap<NodeIx, Vec<StepState>> = HashMap::new();
        for (node, state) in steps {
            by_node.entry(node).or_default().push(state);
        }
        Self { by_node }
    }

    /// The state that stands for all instances of a node: what goes wrong shows before what is at
    /// work, and that before what is done.
    fn of(&self, node: NodeIx) -> StepState {
        const FIRST: [StepState; 7] = [
            StepState::Failed,
            StepState::Running,
            StepState::Cancelled,
            StepState::UpstreamFailed,
            StepState::Pending,
            StepState::Completed,
            StepState::Skipped,
        ];
        let states = self.by_node.get(&node).map_or(&[][..], Vec::as_slice);
        FIRST.into_iter().find(|state| states.contains(state)).unwrap_or(StepState::Pending)
    }

    fn instances(&self, node: NodeIx) -> usize {
        self.by_node.get(&node).map_or(0, Vec::len)
    }
}

/// The flowchart of a program; with `states` that of a run.
pub fn mermaid(program: &Program, states: Option<&States>) -> String {
    let mut text = String::from("flowchart TD\n");
    scope(program, ScopeIx::ROOT, states, 1, &mut text);
    for (ix, node) in program.nodes.iter().enumerate() {
        for edge in &node.successors {
            arrow(NodeIx(ix as u32), node, edge.to, edge.role, &mut text);
        }
    }
    if let Some(states) = states {
        colours(program, states, &mut text);
    }
    text
}

fn name(node: NodeIx) -> String {
    format!("n{}", node.0)
}

fn indent(level: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("    ", level));
}

fn scope(
    program: &Program,
    scope: ScopeIx,
    states: Option<&States>,
    level: usize,
    text: &mut String,
) {
    for ix in program.scope(scope).nodes.clone().map(NodeIx) {
        let node = program.node(ix);
        indent(level, text);
        let _ = writeln!(text, "{}{}", name(ix), shape(node, ix, states));
        for inner in &node.inner {
            frame(program, *inner, states, level, text);
        }
    }
}

/// A branch or a loop's body as a frame of its own, entered from its container.
fn frame(
    program: &Program,
    inner: ScopeIx,
    states: Option<&States>,
    level: usize,
    text: &mut String,
) {
    let definition = program.scope(inner);
    if definition.is_empty() {
        return;
    }
    let (container, title) = match &definition.kind {
        ScopeKind::Root => return,
        ScopeKind::Branch { container, name } => (*container, name.clone()),
        ScopeKind::Body { container } => (*container, "each".to_owned()),
    };
    let title = match &program.node(container).operator {
        Operator::While { .. } => "while".to_owned(),
        _ => title,
    };
    indent(level, text);
    let id = &program.node(container).id;
    let _ = writeln!(
        text,
        "subgraph s{}[\"{}\"]",
        inner.0,
        format_args!("{}: {}", escape(id), escape(&title))
    );
    scope(program, inner, states, level + 1, text);
    indent(level, text);
    text.push_str("end\n");
    indent(level, text);
    let _ = writeln!(text, "{} -.-> s{}", name(container), inner.0);
}

/// A node's shape says what it does, its label which it is.
fn shape(node: &Node, ix: NodeIx, states: Option<&States>) -> String {
    let mut label = escape(&node.id);
    let more = match &node.operator {
        Operator::Task(call) | Operator::Activity(call) => Some(call.function.clone()),
        Operator::Join(join) => Some(
            match join.mode {
                JoinMode::AllOf => "all of",
                JoinMode::AnyOf => "any of",
                JoinMode::AllSuccess => "all succeed",
                JoinMode::OneSuccess => "one succeeds",
            }
            .to_owned(),
        ),
        Operator::Barrier(_) => Some("wait for branches".to_owned()),
        other => Some(other.name().replace('_', " ")),
    };
    if let Some(more) = more.filter(|more| *more != node.id) {
        let _ = write!(label, "<br/><i>{}</i>", escape(&more));
    }
    if let Some(times) = states.map(|states| states.instances(ix)).filter(|times| *times > 1) {
        let _ = write!(label, " x {times}");
    }
    let (open, close) = match &node.operator {
        Operator::Task(_) | Operator::Activity(_) | Operator::Reflexive(_) => ("[", "]"),
        Operator::Condition { .. } | Operator::Switch { .. } => ("{", "}"),
        Operator::Wait(_) | Operator::WaitForEvent { .. } => ("([", "])"),
        Operator::EmitEvent { .. } => (">", "]"),
        Operator::Join(_) | Operator::Barrier(_) => ("((", "))"),
        Operator::Terminate(_) => ("(((", ")))"),
        Operator::Parallel(_) | Operator::MultiChoice(_) => ("[/", "\\]"),
        Operator::Foreach(_) | Operator::While { .. } => ("{{", "}}"),
        Operator::ChildWorkflow { .. } => ("[[", "]]"),
    };
    format!("{open}\"{label}\"{close}")
}

fn arrow(from: NodeIx, node: &Node, to: NodeIx, role: Role, text: &mut String) {
    let label = match role {
        Role::Dependency | Role::Input => None,
        Role::Router => Some(choices(node, to)),
        Role::Referrer => Some(match (node.on_success == Some(to), node.on_failure == Some(to)) {
            (true, true) => "then".to_owned(),
            (true, false) => "on success".to_owned(),
            _ => "on failure".to_owned(),
        }),
    };

    let line = if role == Role::Referrer { "-.->" } else { "-->" };
    let _ = match label.filter(|label| !label.is_empty()) {
        Some(label) => {
            writeln!(text, "    {} {line}|\"{}\"| {}", name(from), escape(&label), name(to))
        }
        None => writeln!(text, "    {} {line} {}", name(from), name(to)),
    };
}

/// What makes a router choose a target.
fn choices(node: &Node, to: NodeIx) -> String {
    let mut labels = Vec::new();
    match &node.operator {
        Operator::Condition { if_true, if_false, .. } => {
            if *if_true == Some(to) {
                labels.push("true".to_owned());
            }
            if *if_false == Some(to) {
                labels.push("false".to_owned());
            }
        }
        Operator::Switch { cases, default, .. } => {
            labels.extend(cases.iter().filter(|(_, ix)| **ix == to).map(|(case, _)| case.clone()));
            if *default == Some(to) {
                labels.push("default".to_owned());
            }
        }
        _ => {}
    }
    labels.join(", ")
}

fn colours(program: &Program, states: &States, text: &mut String) {
    let mut members: HashMap<StepState, Vec<String>> = HashMap::new();
    for ix in (0..program.nodes.len() as u32).map(NodeIx) {
        members.entry(states.of(ix)).or_default().push(name(ix));
    }
    for (state, fill, stroke) in COLOURS {
        if let Some(nodes) = members.get(&state) {
            let _ =
                writeln!(text, "    classDef {state} fill:{fill},stroke:{stroke},color:#111827");
            let _ = writeln!(text, "    class {} {state}", nodes.join(","));
        }
    }
}

/// Text inside a quoted label. Whatever could mean something to Mermaid or to HTML (`%%{`, quotes,
/// tags, links, entities, icons, the `#...;` of its own) becomes one of Mermaid's entity codes,
/// which it turns into the character once the diagram is parsed. A label is one line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " _-.,".contains(c) => escaped.push(c),
            c if c.is_control() || is_layout(c) => escaped.push(' '),
            c if c.is_ascii() => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Line ends that are no controls, and characters that show text in another order than it has.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::compile::compile;

    fn program() -> Program {
        compile(&json!({
            "name": "demo",
            "tasks": {
                "a \"b\"": {"task_id": "a \"b\"", "operator_type": "task", "function": "f.a"},
                "check": {"task_id": "check", "operator_type": "condition",
                          "dependencies": ["a \"b\""], "condition": "true", "if_true": "yes"},
                "yes": {"task_id": "yes", "operator_type": "task", "dependencies": ["check"],
                        "function": "f.yes"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn nodes_and_edges_are_drawn() {
        let text = mermaid(&program(), None);
        assert!(text.starts_with("flowchart TD\n"));
        assert!(text.contains("n0[\"a #34;b#34;<br/><i>f.a</i>\"]"), "{text}");
        assert!(text.contains("n1{\"check<br/><i>condition</i>\"}"), "{text}");
        assert!(text.contains("n0 --> n1"), "{text}");
        assert!(text.contains("n1 -->|\"true\"| n2"), "{text}");
        assert!(!text.contains("classDef"));
    }

    /// Every line is one that the engine writes, whatever stands in its labels.
    fn is_harmless(text: &str) -> bool {
        let line = |line: &str| {
            let line = line.trim();
            let quotes = line.matches('"').count();
            let ours = line.replace("<br/><i>", "").replace("</i>", "");
            let label = ours.split('"').nth(1).unwrap_or_default();
            let plain = |c: char| c.is_alphanumeric() || " _-.,#;:".contains(c) || !c.is_ascii();
            let start = ["n", "subgraph s", "end", "flowchart TD"];
            matches!(quotes, 0 | 2)
                && start.iter().any(|start| line.starts_with(start))
                && label.chars().all(plain)
                && !line.contains("%%")
        };
        text.lines().all(line)
    }

    #[test]
    fn nothing_in_a_name_is_mermaid() {
        let names = [
            "a %%{init: {'theme': 'forest'}}%%",
            "%% a comment",
            "x\"] --> n9[\"y",
            "x\nclick n0 href \"https://example.org\"",
            "a\r\nclick n0 call f()",
            "a\u{2028}click n0",
            "<img src=x onerror=alert(1)>",
            "&lt;script&gt; #lt;b#gt; #37;#37;{",
            "`**bold**` $$x$$ fa:fa-car",
            "style: #;:::x@{ shape: circle }",
            "javascript:alert(1)",
            "---\ntitle: x\n---",
        ];
        for name in names {
            let program = compile(&json!({"name": "demo", "tasks": {
                name: {"task_id": name, "operator_type": "switch", "switch_on": "x",
                       "cases": {name: "other"}},
                "other": {"task_id": "other", "operator_type": "foreach", "items": "[]",
                          "loop_body": [{"task_id": name, "operator_type": "task", "function": name}]},
                "fork": {"task_id": "fork", "operator_type": "parallel", "branches": {name: []},
                         "branch_workflows": {name: {"name": "b", "tasks": {
                             "z": {"task_id": "z", "operator_type": "task", "function": name}}}}},
            }}))
            .unwrap();
            let text = mermaid(&program, None);
            assert!(is_harmless(&text), "{name}: {text}");
        }
        assert_eq!(escape("50% of \"é\"; #1"), "50#37; of #34;é#34;#59; #35;1");
    }

    #[test]
    fn a_run_shows_states_by_colour() {
        let states = States::new([
            (NodeIx(0), StepState::Completed),
            (NodeIx(0), StepState::Failed),
            (NodeIx(1), StepState::Running),
        ]);
        let text = mermaid(&program(), Some(&states));
        assert!(text.contains("class n0 failed"), "{text}");
        assert!(text.contains("class n1 running"), "{text}");
        assert!(text.contains("class n2 pending"), "{text}");
        assert!(text.contains(" x 2"), "{text}");
    }
}
