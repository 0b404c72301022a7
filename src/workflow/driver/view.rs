//! What is stored of one run, as the interpreter asks for it.
//!
//! Answers are kept for the call: the root's lock keeps everybody else away, and what a transition
//! changes is laid over them.

use std::collections::HashMap;
use std::rc::Rc;

use uuid::Uuid;

use super::rows::{self, scope_columns, step_columns};
use super::{Shared, breakers, children, direct, kept};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::row::Rows;
use crate::pg::{Jsonb, Param, Session, Timestamp};
use crate::queue::QueueName;
use crate::workflow::json::Json;
use crate::workflow::program::Program;
use crate::workflow::records::{
    BreakerRec, ChildRec, KeptRec, RunRec, ScopeId, ScopeRec, StepKey, StepRec,
};
use crate::workflow::retrace::Place;
use crate::workflow::state::Host;
use crate::workflow::stimulus::Changes;

/// One run of the tree that the call holds.
pub struct View<'s> {
    pub session: &'s Session,
    pub program: Rc<Program>,
    pub run: RunRec,
    pub queue: QueueName,
    /// The number of the transition under way.
    pub transition: i64,
    /// Read when a step asks for it.
    inputs: Option<Json>,
    scopes: HashMap<ScopeId, Rc<ScopeRec>>,
    /// What the call has done beside: its own once the call works with the run.
    pub shared: Shared,
    /// None for a step that is known to have no record.
    steps: HashMap<StepKey, Option<Rc<StepRec>>>,
}

static INPUTS: Statement =
    Statement::new("select inputs from absurd.workflow_run where workflow_run_id = $1");
static SCOPE: Statement = Statement::new(concat!(
    "select ",
    scope_columns!(),
    " from absurd.workflow_scope c where c.workflow_run_id = $1 and c.scope = $2"
));
static INNER: Statement = Statement::new(concat!(
    "select ",
    scope_columns!(),
    " from absurd.workflow_scope c
      where c.workflow_run_id = $1 and c.parent_scope = $2 and c.parent_node = $3 and c.ordinal = $4"
));
static ALL_INNER: Statement = Statement::new(concat!(
    "select ",
    scope_columns!(),
    " from absurd.workflow_scope c
      where c.workflow_run_id = $1 and c.parent_scope = $2 and c.parent_node = $3
      order by c.ordinal"
));
static STEPS: Statement = Statement::new(concat!(
    "select ",
    step_columns!(),
    " from unnest($2, $3) k (scope, node)
       join absurd.workflow_step s
         on s.workflow_run_id = $1 and s.scope = k.scope and s.node = k.node"
));
static VALUE: Statement = Statement::new(
    "select v.source_scope, v.source_node
       from unnest($2) with ordinality k (context, place)
       join absurd.workflow_value v
         on v.workflow_run_id = $1 and v.context = k.context and v.key = $3
      order by k.place
      limit 1",
);
static VALUES: Statement = Statement::new(
    "select key, source_scope, source_node
       from absurd.workflow_value
      where workflow_run_id = $1 and context = $2
      order by key",
);
static LAST_VALUES: Statement = Statement::new(
    "select distinct on (v.key) v.key, v.source_scope, v.source_node
       from absurd.workflow_scope c
       join absurd.workflow_value v on v.workflow_run_id = $1 and v.context = c.scope
      where c.workflow_run_id = $1 and c.parent_scope = $2 and c.parent_node = $3
      order by v.key, c.ordinal desc",
);
static INNER_FROM: Statement = Statement::new(concat!(
    "select ",
    scope_columns!(),
    " from absurd.workflow_scope c
      where c.workflow_run_id = $1 and c.parent_scope = $2 and c.parent_node = $3
        and c.ordinal >= $4
      order by c.ordinal
      limit $5"
));
static ITEMS: Statement = Statement::new(
    "select items from absurd.workflow_items
      where workflow_run_id = $1 and scope = $2 and node = $3 and first = $4",
);
static ITEMS_END: Statement = Statement::new(
    "select first + count from absurd.workflow_items
      where workflow_run_id = $1 and scope = $2 and node = $3
      order by first desc
      limit 1",
);
static BUSY_STEPS: Statement = Statement::new(concat!(
    "select ",
    step_columns!(),
    " from absurd.workflow_step s
      where s.workflow_run_id = $1 and s.scope = any ($2)
        and (s.state = 'running' or s.state = 'completed' and s.open > 0)
      order by s.scope, s.node
      limit $3"
));
static CHILDREN: Statement = Statement::new(
    "select parent_branch, workflow_run_id, status, result
       from absurd.workflow_execution
      where parent_run_id = $1 and parent_scope = $2 and parent_node = $3
      order by parent_branch",
);
/// What clients see of children.
static OUTCOMES: Statement = Statement::new(
    "select workflow_run_id, result, error
       from absurd.workflow_run
      where workflow_run_id = any ($1)",
);
static EMITTED: Statement = Statement::new("select payload from {e} where event_name = $1");

impl<'s> View<'s> {
    pub fn new(session: &'s Session, program: Rc<Program>, run: RunRec) -> Result<Self> {
        let queue = QueueName::parse(Some(&run.queue))?;
        Ok(Self {
            session,
            program,
            run,
            queue,
            transition: 0,
            inputs: None,
            scopes: HashMap::new(),
            shared: Shared::default(),
            steps: HashMap::new(),
        })
    }

    /// Keeps records that were read together with the run.
    pub fn keep(&mut self, scope: Option<ScopeRec>, step: Option<StepRec>) {
        if let Some(scope) = scope {
            self.scopes.insert(scope.id, Rc::new(scope));
        }
        if let Some(step) = step {
            self.steps.insert(step.key, Some(Rc::new(step)));
        }
    }

    /// Lays what a transition has changed over the answers.
    pub fn change(&mut self, changes: Changes) {
        if let Some(run) = changes.run {
            self.run = run;
        }
        for scope in changes.scopes {
            self.scopes.insert(scope.id, Rc::new(scope));
        }
        for step in changes.steps {
            self.steps.insert(step.key, Some(Rc::new(step)));
        }
    }

    /// Whether a step is known to have no record.
    pub fn is_unwritten(&self, key: StepKey) -> bool {
        matches!(self.steps.get(&key), Some(None))
    }

    fn ask(&self, statement: &'static Statement, params: &[Param]) -> Result<Rows> {
        self.session.run(statement, &Own, params)
    }

    fn scopes_of(&mut self, rows: Rows) -> Result<Vec<Rc<ScopeRec>>> {
        rows.into_iter()
            .map(|row| {
                let scope = Rc::new(rows::scope(&self.program, &row, 0)?);
                self.scopes.insert(scope.id, Rc::clone(&scope));
                Ok(scope)
            })
            .collect()
    }

    fn steps_of(&mut self, rows: Rows) -> Result<Vec<Rc<StepRec>>> {
        rows.into_iter()
            .map(|row| {
                let step = Rc::new(rows::step(&self.program, &row, 0)?);
                self.steps.insert(step.key, Some(Rc::clone(&step)));
                Ok(step)
            })
            .collect()
    }

    fn sources(&self, rows: Rows) -> Result<Vec<(String, StepKey)>> {
        rows.into_iter()
            .map(|row| Ok((row.need(0)?, rows::key(&self.program, &row, 1, 2)?)))
            .collect()
    }
}

/// The error for a run that row security hides from the role.
pub(super) fn hidden(run: Uuid) -> Error {
    Error::Denied { relation: format!("workflow_run: its row \"{run}\" is hidden") }
}

/// A step's key as two parameters.
fn place(key: StepKey) -> (i32, i32) {
    (rows::int(key.scope.0), rows::int(key.node.0))
}

impl Host for View<'_> {
    fn now(&self) -> Timestamp {
        self.session.now()
    }

    fn transition(&self) -> i64 {
        self.transition
    }

    fn inputs(&mut self) -> Result<Json> {
        if let Some(inputs) = &self.inputs {
            return Ok(inputs.clone());
        }
        // Clients' own table: who may not see the run cannot move it on.
        let rows = self.session.run(&INPUTS, &Global, params![self.run.id])?;
        let row = rows.first().ok_or_else(|| hidden(self.run.id))?;
        let found = rows::json(&row, 0)?;
        let inputs = found.unwrap_or_else(|| Json::from_text("{}".to_owned()));
        Ok(self.inputs.insert(inputs).clone())
    }

    fn scope(&mut self, id: ScopeId) -> Result<Rc<ScopeRec>> {
        if let Some(scope) = self.scopes.get(&id) {
            return Ok(Rc::clone(scope));
        }
        let found = self.ask(&SCOPE, params![self.run.id, rows::int(id.0)])?;
        // Its run may be one of a tree, and have been deleted since its record was read.
        self.scopes_of(found)?.pop().ok_or_else(|| Error::Vanished {
            what: "Workflow run",
            key: self.run.id.to_string(),
            queue: self.run.queue.as_str().to_owned(),
        })
    }

    fn inner(&mut self, container: StepKey, ordinal: u32) -> Result<Option<Rc<ScopeRec>>> {
        let (scope, node) = place(container);
        let values = params![self.run.id, scope, node, rows::int(ordinal)];
        let found = self.ask(&INNER, values)?;
        Ok(self.scopes_of(found)?.pop())
    }

    fn all_inner(&mut self, container: StepKey) -> Result<Vec<Rc<ScopeRec>>> {
        let (scope, node) = place(container);
        let found = self.ask(&ALL_INNER, params![self.run.id, scope, node])?;
        self.scopes_of(found)
    }

    fn step(&mut self, key: StepKey) -> Result<Option<Rc<StepRec>>> {
        self.expect(&[key])?;
        Ok(self.steps.get(&key).cloned().flatten())
    }

    fn steps(&mut self, keys: &[StepKey]) -> Result<Vec<Rc<StepRec>>> {
        self.expect(keys)?;
        Ok(keys.iter().filter_map(|key| self.steps.get(key).cloned().flatten()).collect())
    }

    fn expect(&mut self, keys: &[StepKey]) -> Result<()> {
        let mut unknown: Vec<StepKey> =
            keys.iter().copied().filter(|key| !self.steps.contains_key(key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort_unstable();
        unknown.dedup();
        let (scopes, nodes): (Vec<i32>, Vec<i32>) = unknown.iter().copied().map(place).unzip();
        match direct::some_steps(self.session, &self.program, &self.run, &unknown)? {
            Some(found) => found.into_iter().for_each(|step| self.keep(None, Some(step))),
            None => {
                let found = self.ask(&STEPS, params![self.run.id, scopes, nodes])?;
                self.steps_of(found)?;
            }
        }
        for key in unknown {
            self.steps.entry(key).or_insert(None);
        }
        Ok(())
    }

    fn value(&mut self, contexts: &[ScopeId], key: &str) -> Result<Option<StepKey>> {
        let contexts: Vec<i32> = contexts.iter().map(|id| rows::int(id.0)).collect();
        let found = self.ask(&VALUE, params![self.run.id, contexts, key])?;
        found.first().map(|row| rows::key(&self.program, &row, 0, 1)).transpose()
    }

    fn values(&mut self, context: ScopeId) -> Result<Vec<(String, StepKey)>> {
        let found = self.ask(&VALUES, params![self.run.id, rows::int(context.0)])?;
        self.sources(found)
    }

    fn last_values(&mut self, container: StepKey) -> Result<Vec<(String, StepKey)>> {
        let (scope, node) = place(container);
        let found = self.ask(&LAST_VALUES, params![self.run.id, scope, node])?;
        self.sources(found)
    }

    fn inner_from(
        &mut self,
        container: StepKey,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Rc<ScopeRec>>> {
        let (scope, node) = place(container);
        let values = params![self.run.id, scope, node, rows::int(from), limit as i32];
        let found = self.ask(&INNER_FROM, values)?;
        self.scopes_of(found)
    }

    fn items(&mut self, container: StepKey, first: u32) -> Result<Option<Json>> {
        let (scope, node) = place(container);
        let values = params![self.run.id, scope, node, rows::int(first)];
        let found = self.ask(&ITEMS, values)?.first();
        found.map(|row| row.need(0).map(Json::from_text)).transpose()
    }

    fn items_end(&mut self, container: StepKey) -> Result<Option<u32>> {
        let (scope, node) = place(container);
        let found = self.ask(&ITEMS_END, params![self.run.id, scope, node])?.first();
        found.map(|row| rows::number(&row, 0)).transpose()
    }

    fn busy_steps(&mut self, scopes: &[ScopeId], limit: usize) -> Result<Vec<Rc<StepRec>>> {
        let scopes: Vec<i32> = scopes.iter().map(|scope| rows::int(scope.0)).collect();
        let found = self.ask(&BUSY_STEPS, params![self.run.id, scopes, limit as i32])?;
        self.steps_of(found)
    }

    fn children(&mut self, step: StepKey) -> Result<Vec<ChildRec>> {
        let (scope, node) = place(step);
        let mut children = Vec::new();
        for row in self.ask(&CHILDREN, params![self.run.id, scope, node])? {
            children.push(ChildRec {
                branch: row.need(0)?,
                run: row.need::<Uuid>(1)?,
                status: rows::status(&row.need::<String>(2)?)?,
                result: rows::json(&row, 3)?,
                error: None,
            });
        }
        let ids: Vec<Option<Uuid>> = children.iter().map(|child| Some(child.run)).collect();
        let mut outcomes = HashMap::new();
        for row in self.session.run(&OUTCOMES, &Global, params![ids])? {
            outcomes.insert(row.need::<Uuid>(0)?, (rows::json(&row, 1)?, rows::json(&row, 2)?));
        }
        for child in &mut children {
            let (result, error) = outcomes.remove(&child.run).ok_or_else(|| hidden(child.run))?;
            // A child that ended with a result but another status keeps it beside.
            child.result = child.result.take().or(result);
            child.error = error;
        }
        Ok(children)
    }

    fn kept(&mut self, place: Place) -> Result<Option<KeptRec>> {
        kept::of(self.session, &self.program, self.run.id, place)
    }

    fn emitted(&mut self, event: &str) -> Result<Option<Json>> {
        let found = self.session.run(&EMITTED, &self.queue, params![event])?;
        let Some(row) = found.first() else { return Ok(None) };
        // An event without a payload is an event with JSON null.
        let payload = row.get::<Jsonb>(0)?;
        Ok(Some(payload.map_or_else(Json::null, rows::of_jsonb)))
    }

    fn breaker(&mut self, node: &str) -> Result<BreakerRec> {
        let breaker = breakers::read(self.session, &self.program.name, node)?;
        Ok(self.shared.borrow().breakers.over(&self.program.name, node, breaker))
    }

    fn refusal(&mut self, workflow: &str, version: Option<&str>) -> Result<Option<String>> {
        children::refusal(self, workflow, version)
    }

    fn breathe(&mut self) -> Result<()> {
        self.session.check_for_interrupts()
    }
}
