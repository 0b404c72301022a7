//! Circuit breakers: one per workflow name and node id, shared by all runs.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Row, Session, lock};
use crate::workflow::advance::apply_breaker;
use crate::workflow::driver::rows;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{BreakerEvent, BreakerRec, Prober, ScopeId, StepKey};

macro_rules! stored {
    ($lock:literal) => {
        concat!(
            "select failures, successes, open_until, probing_run, probing_scope, probing_node
               from absurd.workflow_breaker
              where workflow_name = $1 and step_name = $2",
            $lock
        )
    };
}

static READ: Statement = Statement::new(stored!(""));
static HOLD: Statement = Statement::new(stored!(" for update"));
static HOLD_NOW: Statement = Statement::new(stored!(" for update nowait"));
/// A run that ended without saying so, or whose queue is gone, probes no longer. Asked when the
/// breaker is held: a statement that waits for the breaker goes on with what it saw of the run
/// before.
static PROBES: Statement = Statement::new(
    "select from absurd.workflow_execution e
      where e.workflow_run_id = $1 and e.status in ('pending', 'running')
        and exists (select from absurd.queues q where q.queue_name = e.queue_name)",
);
static MAKE: Statement = Statement::new(
    "insert into absurd.workflow_breaker (workflow_name, step_name, failures, successes)
     values ($1, $2, 0, 0)
     on conflict (workflow_name, step_name) do nothing",
);
static WRITE: Statement = Statement::new(
    "update absurd.workflow_breaker
        set failures = $3, successes = $4, open_until = $5, probing_run = $6, probing_scope = $7,
            probing_node = $8
      where workflow_name = $1 and step_name = $2",
);

/// A breaker; the closed default while none is stored. One that is not closed may be probed by one
/// session at a time: for another it reads as being probed.
///
/// # Errors
/// Postgres's own.
pub fn read(session: &Session, workflow: &str, node: &str) -> Result<BreakerRec> {
    let Some(row) = session.run(&READ, &Own, params![workflow, node])?.first() else {
        return Ok(BreakerRec::default());
    };
    let seen = of_row(&row)?;
    if seen.open_until.is_none() {
        return Ok(BreakerRec { probing: false, prober: None, ..seen });
    }
    if !lock::probing(workflow, node)? {
        return Ok(BreakerRec { probing: true, ..seen });
    }
    // Who had it before may have let a step through that this transaction does not see.
    let row = session.run_latest(&READ, &Own, params![workflow, node])?.first();
    row.map_or(Ok(BreakerRec::default()), |row| record(session, &row))
}

/// What a call has told breakers: applied when it has taken its trees, in one order.
#[derive(Default)]
pub struct Told {
    events: BTreeMap<Key, Vec<BreakerEvent>>,
    /// The last in that order that the call has locked. It waits for no earlier one.
    pub last: Option<Key>,
}

/// The name of a workflow and the id of a node.
pub type Key = (String, String);

impl Told {
    pub fn note(&mut self, workflow: &str, events: Vec<(String, BreakerEvent)>) {
        for (node, event) in events {
            self.events.entry((workflow.to_owned(), node)).or_default().push(event);
        }
    }

    /// A breaker as it will be.
    pub fn over(&self, workflow: &str, node: &str, mut breaker: BreakerRec) -> BreakerRec {
        if self.events.is_empty() {
            return breaker;
        }
        for event in self.events.get(&(workflow.to_owned(), node.to_owned())).into_iter().flatten()
        {
            apply_breaker(&mut breaker, event);
        }
        breaker
    }

    /// Tells the stored breakers, each as the last call has left it.
    ///
    /// # Errors
    /// Postgres's own; 55P03 when another session holds one that comes before those which the call
    /// has locked.
    pub fn flush(&mut self, session: &Session) -> Result<()> {
        for (key, events) in std::mem::take(&mut self.events) {
            let may_wait = self.last.as_ref().is_none_or(|last| *last < key);
            let breaker = hold(session, &key, may_wait)?;
            let mut after = breaker;
            for event in &events {
                apply_breaker(&mut after, event);
            }
            if after != breaker {
                write(session, &key, &after)?;
            }
            if may_wait {
                self.last = Some(key);
            }
        }
        Ok(())
    }
}

/// Locks a breaker; made when there is none.
fn hold(session: &Session, key: &Key, may_wait: bool) -> Result<BreakerRec> {
    let (workflow, node) = (key.0.as_str(), key.1.as_str());
    let statement = if may_wait { &HOLD } else { &HOLD_NOW };
    loop {
        if let Some(row) = session.run(statement, &Own, params![workflow, node])?.first() {
            return record(session, &row);
        }
        session.run(&MAKE, &Own, params![workflow, node])?;
        // Under one snapshot the row of another, made since, is never seen.
        if session.keeps_snapshot() {
            let row = session.run_latest(statement, &Own, params![workflow, node])?.first();
            return row.map_or(Ok(BreakerRec::default()), |row| record(session, &row));
        }
    }
}

/// A stored breaker, whatever has become of the run that probes it.
fn of_row(row: &Row) -> Result<BreakerRec> {
    let prober = match (row.get(3)?, rows::optional_number(row, 4)?, rows::optional_number(row, 5)?)
    {
        (Some(run), Some(scope), Some(node)) => {
            Some(Prober { run, step: StepKey { scope: ScopeId(scope), node: NodeIx(node) } })
        }
        _ => None,
    };
    Ok(BreakerRec {
        failures: rows::number(row, 0)?,
        successes: rows::number(row, 1)?,
        open_until: row.get(2)?,
        probing: prober.is_some(),
        prober,
    })
}

fn record(session: &Session, row: &Row) -> Result<BreakerRec> {
    let breaker = of_row(row)?;
    let prober = match breaker.prober {
        Some(prober) if session.run_latest(&PROBES, &Own, params![prober.run])?.is_empty() => None,
        prober => prober,
    };
    Ok(BreakerRec { probing: prober.is_some(), prober, ..breaker })
}

fn write(session: &Session, key: &Key, breaker: &BreakerRec) -> Result<()> {
    let (workflow, node) = (key.0.as_str(), key.1.as_str());
    let prober = breaker.prober.filter(|_| breaker.probing);
    let values = params![
        workflow,
        node,
        rows::int(breaker.failures),
        rows::int(breaker.successes),
        breaker.open_until,
        prober.map(|prober| prober.run),
        prober.map(|prober| rows::int(prober.step.scope.0)),
        prober.map(|prober| rows::int(prober.step.node.0)),
    ];
    session.run(&WRITE, &Own, values).map(drop)
}
