//! No document, however strange, breaks the compiler; what it accepts can be executed.

use proptest::prelude::*;

use super::*;
use crate::workflow::document::canonical;
use crate::workflow::program::Role;

/// JSON that resembles documents: keys and words are those of the format.
fn words() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "name",
        "version",
        "tasks",
        "variables",
        "task_id",
        "operator_type",
        "dependencies",
        "a",
        "b",
        "c",
        "d",
        "task",
        "activity",
        "condition",
        "switch",
        "wait",
        "parallel",
        "foreach",
        "while",
        "join",
        "multi_choice",
        "loop_body",
        "branches",
        "branch_workflows",
        "if_true",
        "if_false",
        "cases",
        "default",
        "join_tasks",
        "items",
        "function",
        "on_failure_task_id",
        "retry_policy",
        "preconditions",
        "start_task",
        "schedule",
        "{{a}}",
        "PT5S",
        "",
        "wait_for",
    ];
    prop_oneof![8 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(words(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

const IDS: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];

/// Documents whose fields have the right types, with whatever links.
fn linked(depth: u32) -> BoxedStrategy<Map<String, Value>> {
    let inner = if depth > 0 { linked(depth - 1) } else { Just(Map::new()).boxed() };
    let id = || prop::sample::select(IDS);
    let ids = |max| prop::collection::vec(prop::sample::select(IDS), 0..max);
    let one = (id(), 0..12u8, ids(4), ids(3), prop::option::weighted(0.1, id()), inner);
    prop::collection::vec(one, 0..8)
        .prop_map(|list| list.into_iter().map(|(id, kind, before, other, handler, inner)| {
            let fields = match kind {
                0 | 1 => json!({"operator_type": "condition", "condition": "x", "if_true": other.first(), "if_false": other.get(1)}),
                2 => json!({"operator_type": "switch", "switch_on": "x", "cases": other.iter().map(|id| (id.to_string(), json!(id))).collect::<Map<_, _>>()}),
                3 => json!({"operator_type": "join", "join_tasks": other}),
                4 => json!({"operator_type": "foreach", "items": "x", "loop_body": list_of(&inner)}),
                5 => json!({"operator_type": "parallel", "branches": {"x": other}}),
                6 => json!({"operator_type": "parallel", "branches": {"x": other}, "branch_workflows": {"x": {"tasks": inner}, "y": {"tasks": inner}}}),
                7 => json!({"function": "tools.workflow.wait_for_parallel_branches"}),
                _ => json!({"is_internal_loop_task": kind == 8}),
            };
            let common = json!({"dependencies": before, "on_failure_task_id": handler});
            with(with(task(id), common), fields)
        }).collect())
        .boxed()
}

fn list_of(tasks: &Map<String, Value>) -> Value {
    list(tasks)
}

/// What every program must keep for a run of it to end.
fn check(program: &Program) {
    let mut edges = 0i64;
    for (ix, node) in (0..).map(NodeIx).zip(&program.nodes) {
        let before = &program.node(ix).predecessors;
        let lists = [&before.dependencies, &before.routers, &before.inputs, &before.referrers];
        for list in lists {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
            edges += list.len() as i64;
        }
        edges -= node.successors.len() as i64;
        for edge in &node.successors {
            let of = &program.node(edge.to).predecessors;
            let list = match edge.role {
                Role::Dependency => &of.dependencies,
                Role::Router => &of.routers,
                Role::Input => &of.inputs,
                Role::Referrer => &of.referrers,
            };
            assert!(list.contains(&ix));
        }
        for handler in node.on_success.iter().chain(&node.on_failure) {
            assert!(program.node(*handler).predecessors.referrers.contains(&ix));
        }
        let scope = program.scope(node.scope);
        assert!(scope.nodes.contains(&ix.0));
        assert_eq!(program.find(node.scope, &node.id), Some(ix));
    }
    assert_eq!(edges, 0);
    for (ix, scope) in program.scopes.iter().enumerate() {
        let nodes = || scope.nodes.clone().map(NodeIx);
        assert!(scope.is_empty() || !scope.sources.is_empty() && !scope.sinks.is_empty());
        // Everything can be taken in some order in which predecessors come first.
        let mut done = vec![false; program.nodes.len()];
        let standing = |mut node: NodeIx| loop {
            if scope.nodes.contains(&node.0) {
                return node.0 as usize;
            }
            match program.scope(program.node(node).scope).kind {
                ScopeKind::Branch { container, .. } => node = container,
                _ => panic!("scope {ix}: a predecessor is neither inside nor below"),
            }
        };
        let ready = |node: NodeIx, done: &[bool]| {
            let before = &program.node(node).predecessors;
            let lists = [&before.dependencies, &before.routers, &before.inputs, &before.referrers];
            lists.iter().all(|list| list.iter().all(|node| done[standing(*node)]))
        };
        loop {
            let next = nodes().find(|node| !done[node.0 as usize] && ready(*node, &done));
            let Some(next) = next else { break };
            done[next.0 as usize] = true;
        }
        assert!(nodes().all(|node| done[node.0 as usize]), "scope {ix}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn arbitrary_json(value in anything()) {
        if let Ok((document, hash)) = canonical(&value) {
            prop_assert_eq!(canonical(&document).unwrap(), (document.clone(), hash));
        }
        let _ = compile(&value);
    }

    #[test]
    fn arbitrary_tasks(value in anything()) {
        let _ = compile(&document(value));
    }

    #[test]
    fn arbitrary_links(tasks in linked(2)) {
        let document = document(tasks.into());
        if let Ok(program) = compile(&document) {
            check(&program);
            let (canonical, _) = canonical(&document).unwrap();
            prop_assert_eq!(format!("{:?}", compile(&canonical).unwrap()), format!("{program:?}"));
        }
    }
}

#[test]
fn links_are_often_accepted() {
    // The property above must not hold for want of accepted documents.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = linked(1);
    let accepted = (0..300)
        .filter(|_| {
            let tree = strategy.new_tree(&mut runner).unwrap();
            compile(&document(proptest::strategy::ValueTree::current(&tree).into())).is_ok()
        })
        .count();
    assert!(accepted > 20, "{accepted} of 300");
}
