//! What holds for every document, every outcome and every order.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::workflow::compile::compile;
use crate::workflow::document;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::{NodeIx, Program};
use crate::workflow::records::{RunStatus, ScopePhase, StepKey, StepRec};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Stimulus;

use super::super::decide::{Decision, decide};
use super::super::memory::{Memory, TaskState};
use super::generate::{Builder, Spec, scope};
use super::player::Player;

/// How a run is played: what its tasks return and in which order things happen.
#[derive(Clone, Copy, Debug)]
struct Play {
    outcomes: u64,
    /// One of so many attempts fails.
    failing: u64,
    order: u64,
    bound: usize,
    /// Whether all that is stored goes through text between two stimuli.
    reloads: bool,
}

fn number(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug)]
enum Action {
    Task(usize),
    Child(StepKey, String),
    Event(String),
    /// On to the next instant at which something comes due.
    Time(f64),
}

fn actions(memory: &Memory) -> Vec<Action> {
    let ready = memory.tasks.iter().enumerate().filter(|(_, task)| task.state == TaskState::Ready);
    let mut actions: Vec<Action> = ready.map(|(at, _)| Action::Task(at)).collect();
    let children = memory.stored.children.iter().filter(|(_, child)| !child.status.is_final());
    actions.extend(children.map(|((step, branch), _)| Action::Child(*step, branch.clone())));
    let awaited: std::collections::BTreeSet<_> = memory.stored.waits.values().cloned().collect();
    actions.extend(awaited.into_iter().map(Action::Event));
    let timers = memory.stored.timers.values().map(|timer| timer.due_at);
    let sleeping = memory.tasks.iter().filter(|task| task.state == TaskState::Sleeping);
    if let Some(due) = timers.chain(sleeping.map(|task| task.due)).min() {
        let seconds = (due.micros() - memory.now.micros()) as f64 / 1e6;
        if seconds < FOREVER || actions.is_empty() {
            actions.push(Action::Time(seconds));
        }
    }
    actions
}

/// Timeouts of so many seconds are there to never come.
pub const FOREVER: f64 = 1e5;

/// Plays a program to its end.
fn run(program: &Rc<Program>, play: Play) -> Player {
    let inputs = Json::from_value(json!({"yes": true, "no": false}));
    let mut player = Player { memory: Memory::new(program.clone(), inputs) };
    player.memory.bound = play.bound;
    player.memory.rehearses = play.reloads;
    player.memory.registered.insert("w".to_owned());
    player.memory.stimulate(Stimulus::Start);
    for turn in 0..5000_u64 {
        let actions = actions(&player.memory);
        if player.memory.status() != RunStatus::Running {
            return player;
        }
        assert!(!actions.is_empty(), "stuck: {:#?}", player.states());
        match &actions[number((play.order, turn)) as usize % actions.len()] {
            Action::Task(at) => {
                let task = &player.memory.tasks[*at];
                let outcome = number((play.outcomes, &task.spawn.path, task.attempt));
                if outcome.is_multiple_of(play.failing) {
                    player.memory.fail_task(*at, &Json::from_value(json!({"message": "x"})));
                } else {
                    player.memory.complete_task(*at, Json::from_value((outcome % 100).into()));
                }
            }
            Action::Child(step, branch) => {
                let outcome = number((play.outcomes, player.path(*step), branch));
                let failed = outcome.is_multiple_of(play.failing);
                let status = if failed { RunStatus::Failed } else { RunStatus::Completed };
                player.memory.child_finished(*step, branch, status, Json::null());
            }
            Action::Event(name) => drop(player.emit(name, json!({"from": "outside"}))),
            Action::Time(seconds) => player.memory.advance_seconds(*seconds),
        }
        if play.reloads {
            player.memory.reload();
        }
    }
    panic!("no end: {:#?}", player.states());
}

/// Nothing is left open, and nothing ran twice.
fn check_end(player: &Player) {
    let memory = &player.memory;
    assert_eq!(memory.finishes, 1);
    for (path, state) in player.states() {
        assert!(StepState::parse(&state).unwrap().is_final(), "{path} is {state}");
    }
    for (key, starts) in &memory.starts {
        assert_eq!(*starts, 1, "{} started {starts} times", player.path(*key));
    }
    for task in &memory.tasks {
        let open = matches!(task.state, TaskState::Ready | TaskState::Sleeping);
        assert!(!open, "the task of {} is left", task.spawn.path);
    }
    assert!(memory.stored.children.values().all(|child| child.status.is_final()));
    for scope in memory.stored.scopes.values() {
        assert_ne!(scope.phase, ScopePhase::Open, "{}", scope.path);
        if scope.phase == ScopePhase::Finished {
            assert_eq!(scope.open, 0);
            for node in memory.program.scope(scope.scope).nodes.clone().map(NodeIx) {
                check_decision(player, StepKey { scope: scope.id, node });
            }
        }
    }
}

/// A step of a scope that ended by itself did what the final states of its predecessors demand.
fn check_decision(player: &Player, key: StepKey) {
    let program = &player.memory.program;
    let node = program.node(key.node);
    let states = player.states();
    let prefix = &player.memory.stored.scopes[&key.scope].path;
    let ids = player.ids_below(key.scope);
    let state = |node: &NodeIx| {
        let path =
            ids.get(node).unwrap_or_else(|| panic!("{} below {prefix}", program.node(*node).id));
        StepState::parse(&states[path]).unwrap()
    };
    let mut step = StepRec::untouched(key);
    let lists = &node.predecessors;
    for before in &lists.dependencies {
        step.dependencies.add(state(before).outcome().unwrap());
    }
    for before in &lists.inputs {
        step.inputs.add(state(before).outcome().unwrap());
    }
    for before in &lists.routers {
        let record = &player.memory.stored.steps[&StepKey { scope: key.scope, node: *before }];
        let outcome = match record.state {
            StepState::Completed if record.selected == Some(key.node) => StepState::Completed,
            StepState::Completed => StepState::Skipped,
            other => other,
        };
        step.routers.add(outcome.outcome().unwrap());
    }
    for before in &lists.referrers {
        step.referrers += 1;
        let referrer = program.node(*before);
        let succeeded =
            state(before) == StepState::Completed && referrer.on_success == Some(key.node);
        let failed = state(before) == StepState::Failed && referrer.on_failure == Some(key.node);
        if succeeded || failed {
            step.trigger = Some(crate::workflow::records::Trigger { referrer: *before, succeeded });
        }
    }
    let own = state(&key.node);
    // A join whose time is over fails whatever becomes of its inputs, which end after it.
    let record = &player.memory.stored.steps[&key];
    if !lists.inputs.is_empty()
        && record.error.as_ref().is_some_and(|error| error.text().contains("TimeoutError"))
    {
        return;
    }
    let expected = match own {
        StepState::Skipped => Decision::Skip,
        StepState::UpstreamFailed => Decision::UpstreamFail,
        _ => Decision::Start,
    };
    assert_eq!(decide(node, &step), expected, "{prefix}{}: {own} {step:?}", node.id);
}

fn compiled(specs: &[Spec], sensitive: bool) -> Option<Rc<Program>> {
    let document = Builder::document(specs, sensitive);
    let (canonical, _) = document::canonical(&document).unwrap();
    match compile(&canonical) {
        Ok(program) => Some(Rc::new(program)),
        Err(error) => {
            assert!(error.to_string().contains("cycle"), "{error}: {document}");
            None
        }
    }
}

fn play() -> impl Strategy<Value = Play> {
    (any::<u64>(), 2..12_u64, any::<u64>()).prop_map(|(outcomes, failing, order)| Play {
        outcomes,
        failing,
        order,
        bound: usize::MAX,
        reloads: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_with_nothing_left_open(specs in scope(3), play in play()) {
        let program = compiled(&specs, true);
        prop_assume!(program.is_some());
        check_end(&run(&program.unwrap(), play));
    }

    #[test]
    fn the_order_of_events_does_not_change_the_states(
        specs in scope(3), play in play(), order in any::<u64>(),
    ) {
        let program = compiled(&specs, false);
        prop_assume!(program.is_some());
        let program = program.unwrap();
        let one = run(&program, play);
        check_end(&one);
        let other = run(&program, Play { order, ..play });
        prop_assert_eq!(one.states(), other.states());
        prop_assert_eq!(one.status(), other.status());
    }

    #[test]
    fn a_run_goes_on_from_what_is_stored(specs in scope(3), play in play(), bound in 1..6_usize) {
        let program = compiled(&specs, true);
        prop_assume!(program.is_some());
        let program = program.unwrap();
        let plain = run(&program, play);
        // The same, with each stimulus lost once and given again, and all records stored as text.
        let reloaded = run(&program, Play { reloads: true, ..play });
        prop_assert_eq!(plain.states(), reloaded.states());
        prop_assert_eq!(plain.result(), reloaded.result());
        prop_assert_eq!(plain.error(), reloaded.error());
        // In transitions that do next to nothing each.
        let small = run(&program, Play { bound, ..play });
        check_end(&small);
    }
}

#[test]
fn generated_documents_reach_every_operator_and_every_end() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let mut statuses: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..600 {
        let (specs, play) = (scope(3), play()).new_tree(&mut runner).unwrap().current();
        let Some(program) = compiled(&specs, true) else { continue };
        let player = run(&program, play);
        *statuses.entry(player.status()).or_default() += 1;
        for step in player.memory.stored.steps.values().filter(|step| step.state.is_final()) {
            let node = program.node(step.key.node);
            let barrier = matches!(node.operator, Operator::Barrier(_));
            let name = if barrier { "barrier" } else { node.operator.name() };
            *reached.entry((name, step.state.to_string())).or_default() += 1;
        }
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), ["cancelled", "completed", "failed"]);
    let every = [
        "activity",
        "barrier",
        "child_workflow",
        "condition",
        "emit_event",
        "foreach",
        "join",
        "multi_choice",
        "parallel",
        "reflexive",
        "switch",
        "task",
        "wait",
        "wait_for_event",
        "while",
    ];
    for name in every {
        for state in ["completed", "failed", "skipped", "upstream_failed"] {
            let count = reached.get(&(name, state.to_owned())).copied().unwrap_or_default();
            assert!(count > 0, "no {name} is {state}: {reached:#?}");
        }
    }
    for name in ["task", "parallel", "foreach", "while", "wait", "child_workflow", "barrier"] {
        assert!(reached.contains_key(&(name, "cancelled".to_owned())), "no {name} is cancelled");
    }
}

/// Questions to the host, records read and records written while one task completes.
fn cost(player: &mut Player, path: &str) -> (usize, usize, usize) {
    let memory = &mut player.memory;
    memory.asked.set(0);
    memory.read.set(0);
    memory.written = 0;
    player.complete(path, json!({"n": 1}));
    let memory = &player.memory;
    (memory.asked.get(), memory.read.get(), memory.written)
}

fn chain(length: usize) -> Value {
    let nodes = (0..length).map(|at| {
        let before: Vec<String> = (at > 0).then(|| format!("t{:04}", at - 1)).into_iter().collect();
        json!({"task_id": format!("t{at:04}"), "operator_type": "task", "dependencies": before, "function": "f",
               "result_key": format!("k{at}"), "args": before.iter().map(|b| format!("{{{{{b}}}}}")).collect::<Vec<_>>()})
    });
    super::player::document(Value::Array(nodes.collect()))
}

#[test]
fn finishing_a_step_costs_the_same_in_small_and_large_documents() {
    let costs: Vec<_> = [10, 1000]
        .into_iter()
        .map(|length| {
            let mut player = Player::started(&chain(length), json!({}));
            for at in 0..length / 2 {
                player.complete(&format!("t{at:04}"), json!(1));
            }
            cost(&mut player, &format!("t{:04}", length / 2))
        })
        .collect();
    assert_eq!(costs[0], costs[1]);
    let (asked, read, written) = costs[0];
    assert!(asked <= 8 && read <= 8 && written <= 5, "{costs:?}");
}

#[test]
fn completing_an_item_costs_the_same_in_small_and_large_fan_outs() {
    let body = json!([
        {"task_id": "s", "operator_type": "task", "dependencies": ["each"], "function": "f", "result_key": "k", "args": ["{{item}}", "{{loop.last}}"]},
        {"task_id": "t", "operator_type": "task", "dependencies": ["s"], "function": "f"},
    ]);
    let document = |count: usize| {
        super::player::document(json!([
            {"task_id": "each", "operator_type": "foreach", "items": format!("range({count})"), "parallel": true, "loop_body": body},
            {"task_id": "end", "operator_type": "task", "dependencies": ["each"], "function": "f"},
        ]))
    };
    let mut costs = BTreeMap::new();
    for count in [10, 10_000] {
        let mut player = Player::started(&document(count), json!({}));
        assert_eq!(player.seen().spawned.len(), count);
        // Many are begun in pieces.
        assert_eq!(player.memory.transition == 1, count == 10);
        let first = cost(&mut player, "each[3]/s");
        let second = cost(&mut player, "each[3]/t");
        costs.insert(count, (first, second));
    }
    assert_eq!(costs[&10], costs[&10_000]);
}

#[test]
fn a_join_of_many_inputs_is_decided_from_one_record() {
    let document = |count: usize| {
        let mut nodes: Vec<Value> = (0..count)
            .map(|at| json!({"task_id": format!("t{at:04}"), "operator_type": "task", "function": "f"}))
            .collect();
        let ids: Vec<Value> = nodes.iter().map(|node| node["task_id"].clone()).collect();
        nodes.push(json!({"task_id": "end", "operator_type": "task", "dependencies": ids, "function": "f"}));
        super::player::document(Value::Array(nodes))
    };
    let mut few = Player::started(&document(10), json!({}));
    let mut many = Player::started(&document(1000), json!({}));
    assert_eq!(cost(&mut few, "t0004"), cost(&mut many, "t0004"));
}
