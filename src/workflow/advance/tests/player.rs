//! Plays documents: actions by path in, everything that a case file pins down out.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::workflow::compile::compile;
use crate::workflow::document;
use crate::workflow::json::Json;
use crate::workflow::program::{NodeIx, Program, ScopeIx, ScopeKind};
use crate::workflow::records::{RunStatus, ScopeId, ScopePhase, StepKey};
use crate::workflow::state::state_of;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Stimulus;

use super::super::memory::{Memory, Seen, TaskState};

pub fn program(document: &Value) -> Rc<Program> {
    let (canonical, _) = document::canonical(document).unwrap_or_else(|error| panic!("{error}"));
    Rc::new(compile(&canonical).unwrap_or_else(|error| panic!("{error}")))
}

pub struct Player {
    pub memory: Memory,
}

impl Player {
    pub fn new(document: &Value, inputs: Value) -> Self {
        Self { memory: Memory::new(program(document), Json::from_value(inputs)) }
    }

    /// A run of the document, started with these inputs.
    pub fn started(document: &Value, inputs: Value) -> Self {
        let mut player = Self::new(document, inputs);
        player.memory.stimulate(Stimulus::Start);
        player
    }

    /// A document of these nodes; each is `{"task_id": .., "operator_type": .., ..}`.
    pub fn of(nodes: Value) -> Self {
        Self::started(&document(nodes), json!({}))
    }

    pub fn seen(&mut self) -> Seen {
        std::mem::take(&mut self.memory.seen)
    }

    pub fn path(&self, key: StepKey) -> String {
        let scope = &self.memory.stored.scopes[&key.scope];
        format!("{}{}", scope.path, self.memory.program.node(key.node).id)
    }

    /// The step of a path that has a record.
    pub fn key(&self, path: &str) -> StepKey {
        let mut keys = self.memory.stored.steps.keys().copied();
        keys.find(|key| self.path(*key) == path).unwrap_or_else(|| panic!("no step {path}"))
    }

    /// The task of a step.
    pub fn task(&self, path: &str) -> usize {
        let key = self.key(path);
        *self.memory.of_step.get(&key).unwrap_or_else(|| panic!("no task of {path}"))
    }

    pub fn complete(&mut self, path: &str, result: Value) -> &mut Self {
        let task = self.task(path);
        self.memory.complete_task(task, Json::from_value(result));
        self
    }

    pub fn fail(&mut self, path: &str, name: &str, message: &str) -> &mut Self {
        let task = self.task(path);
        let error = Json::from_value(json!({"name": name, "message": message}));
        self.memory.fail_task(task, &error);
        self
    }

    pub fn wait(&mut self, seconds: f64) -> &mut Self {
        self.memory.advance_seconds(seconds);
        self
    }

    pub fn emit(&mut self, name: &str, payload: Value) -> &mut Self {
        self.memory.emit(name, Json::from_value(payload));
        self.memory.settle();
        self
    }

    pub fn child(&mut self, path: &str, branch: &str, status: &str, result: Value) -> &mut Self {
        let status = match status {
            "completed" => RunStatus::Completed,
            "failed" => RunStatus::Failed,
            "cancelled" => RunStatus::Cancelled,
            other => panic!("{other}"),
        };
        let key = self.key(path);
        self.memory.child_finished(key, branch, status, Json::from_value(result));
        self
    }

    pub fn status(&self) -> &'static str {
        self.memory.status().as_str()
    }

    pub fn error(&self) -> Value {
        self.memory.stored.run.error.clone().map_or(Value::Null, |e| e.value().unwrap().clone())
    }

    pub fn result(&self) -> Value {
        self.memory.stored.run.result.clone().map_or(Value::Null, |r| r.value().unwrap().clone())
    }

    /// What has been spawned since the last look, by path.
    pub fn spawned(&mut self) -> BTreeMap<String, Value> {
        let seen = self.seen();
        seen.spawned.iter().map(|s| (s.path.clone(), s.params.value().unwrap().clone())).collect()
    }

    /// Paths of what has been spawned since the last look.
    pub fn spawned_paths(&mut self) -> Vec<String> {
        self.spawned().into_keys().collect()
    }

    pub fn state(&self, path: &str) -> String {
        self.states().remove(path).unwrap_or_else(|| panic!("{path} is nowhere"))
    }

    pub fn step_error(&self, path: &str) -> Value {
        let step = &self.memory.stored.steps[&self.key(path)];
        step.error.clone().map_or(Value::Null, |error| error.value().unwrap().clone())
    }

    pub fn step_result(&self, path: &str) -> Value {
        let step = &self.memory.stored.steps[&self.key(path)];
        step.result.clone().map_or(Value::Null, |result| result.value().unwrap().clone())
    }

    /// Every step's state by path, those included that only the program and a closed scope tell of.
    pub fn states(&self) -> BTreeMap<String, String> {
        let mut states = BTreeMap::new();
        self.states_in(ScopeId::ROOT, &mut states);
        states
    }

    fn states_in(&self, id: ScopeId, states: &mut BTreeMap<String, String>) {
        let scope = &self.memory.stored.scopes[&id];
        if scope.phase == ScopePhase::Waiting {
            return;
        }
        let program = &self.memory.program;
        for node in program.scope(scope.scope).nodes.clone().map(NodeIx) {
            let key = StepKey { scope: id, node };
            let step = self.memory.stored.steps.get(&key).map(|step| &**step);
            let state = state_of(step, scope.phase);
            let path = self.path(key);
            states.insert(path.clone(), state.as_str().to_owned());
            let inner = (0..).map_while(|ordinal| self.memory.inner.get(&(key, ordinal)));
            let inner: Vec<ScopeId> = inner.copied().collect();
            for id in &inner {
                self.states_in(*id, states);
            }
            if inner.is_empty() {
                self.unstarted(node, &path, state, states);
            }
        }
    }

    /// The nodes in the branches of a container that never started them.
    fn unstarted(
        &self,
        node: NodeIx,
        path: &str,
        state: StepState,
        states: &mut BTreeMap<String, String>,
    ) {
        let program = &self.memory.program;
        let inner = match state {
            StepState::Pending | StepState::Running => StepState::Pending,
            StepState::Skipped => StepState::Skipped,
            _ => StepState::UpstreamFailed,
        };
        for branch in &program.node(node).inner {
            let branch: ScopeIx = *branch;
            let scope = program.scope(branch);
            let ScopeKind::Branch { name, .. } = &scope.kind else {
                continue;
            };
            for node in scope.nodes.clone().map(NodeIx) {
                let path = format!("{path}.{name}/{}", program.node(node).id);
                states.insert(path.clone(), inner.as_str().to_owned());
                self.unstarted(node, &path, inner, states);
            }
        }
    }

    /// The paths of the nodes that an instance holds, those inside its branches included.
    pub fn ids_below(&self, id: ScopeId) -> BTreeMap<NodeIx, String> {
        let mut ids = BTreeMap::new();
        let scope = &self.memory.stored.scopes[&id];
        self.add_ids(scope.scope, &scope.path, &mut ids);
        ids
    }

    fn add_ids(&self, scope: ScopeIx, prefix: &str, ids: &mut BTreeMap<NodeIx, String>) {
        let program = &self.memory.program;
        for ix in program.scope(scope).nodes.clone().map(NodeIx) {
            let node = program.node(ix);
            ids.insert(ix, format!("{prefix}{}", node.id));
            for inner in &node.inner {
                if let ScopeKind::Branch { name, .. } = &program.scope(*inner).kind {
                    self.add_ids(*inner, &format!("{prefix}{}.{name}/", node.id), ids);
                }
            }
        }
    }

    /// Works every ready task, in the order of their spawning, with the result `null`.
    pub fn work_all(&mut self) -> &mut Self {
        while let Some(at) =
            self.memory.tasks.iter().position(|task| task.state == TaskState::Ready)
        {
            self.memory.complete_task(at, Json::null());
        }
        self
    }
}

/// A document of these nodes, by their ids.
pub fn document(nodes: Value) -> Value {
    let nodes = nodes.as_array().unwrap().iter();
    let tasks: serde_json::Map<String, Value> =
        nodes.map(|node| (node["task_id"].as_str().unwrap().to_owned(), node.clone())).collect();
    json!({"name": "doc", "tasks": tasks})
}

/// A task of the function `f.<id>`.
pub fn task(id: &str, dependencies: &[&str]) -> Value {
    node(id, "task", dependencies, json!({"function": format!("f.{id}")}))
}

/// A node with its operator's own fields.
pub fn node(id: &str, operator: &str, dependencies: &[&str], fields: Value) -> Value {
    let common = json!({"task_id": id, "operator_type": operator, "dependencies": dependencies});
    with(common, fields)
}

/// The node with more fields.
pub fn with(mut node: Value, fields: Value) -> Value {
    let fields = fields.as_object().unwrap().clone();
    node.as_object_mut().unwrap().extend(fields);
    node
}

/// `branch_workflows` and `branches` of a parallel: a branch is a name with its nodes.
pub fn branches(branches: &[(&str, Value)]) -> Value {
    let mut ids = serde_json::Map::new();
    let mut documents = serde_json::Map::new();
    for (name, nodes) in branches {
        let list = nodes.as_array().unwrap().iter().map(|node| node["task_id"].clone());
        ids.insert((*name).to_owned(), list.collect());
        documents.insert((*name).to_owned(), document(nodes.clone()));
    }
    json!({"branches": ids, "branch_workflows": documents})
}

/// `branch_workflows` and `branches` of a multi_choice: name, condition, nodes.
pub fn choices(choices: &[(&str, &str, Value)]) -> Value {
    let plain: Vec<(&str, Value)> = choices.iter().map(|c| (c.0, c.2.clone())).collect();
    let mut fields = branches(&plain);
    for (name, condition, _) in choices {
        let tasks = fields["branches"][name].clone();
        fields["branches"][name] = json!({"condition": condition, "tasks": tasks});
    }
    fields
}
