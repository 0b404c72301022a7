//! Circuit breakers: one per workflow name and node id, shared by all runs.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Row, Session};
use crate::workflow::advance::apply_breaker;
use crate::workflow::driver::rows;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{BreakerEvent, BreakerRec, Prober, ScopeId, StepKey};

static READ: Statement = Statement::new(
    "select failures, successes, open_until
       from absurd.workflow_breaker
      where workflow_name = $1 and step_name = $2",
);
/// A run that ended without saying so probes no longer.
macro_rules! lock {
    ($wait:literal) => {
        concat!(
            "select b.failures, b.successes, b.open_until, e.workflow_run_id, b.probing_scope,
                    b.probing_node
               from absurd.workflow_breaker b
               left join absurd.workflow_execution e
                 on e.workflow_run_id = b.probing_run and e.status in ('pending', 'running')
              where b.workflow_name = $1 and b.step_name = $2
                for update of b",
            $wait
        )
    };
}

static LOCK: Statement = Statement::new(lock!(" skip locked"));
static HOLD: Statement = Statement::new(lock!(""));
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

/// A breaker; the closed default while none is stored. One that is not closed is locked, so that
/// only one run lets an attempt through; when another session has it, it reads as being probed.
pub fn read(session: &Session, workflow: &str, node: &str) -> Result<BreakerRec> {
    let Some(row) = session.run(&READ, &Own, params![workflow, node])?.first() else {
        return Ok(BreakerRec::default());
    };
    let seen = BreakerRec {
        failures: rows::number(&row, 0)?,
        successes: rows::number(&row, 1)?,
        open_until: row.get(2)?,
        probing: false,
        prober: None,
    };
    if seen.open_until.is_none() {
        return Ok(seen);
    }
    let Some(row) = session.run(&LOCK, &Own, params![workflow, node])?.first() else {
        return Ok(BreakerRec { probing: true, ..seen });
    };
    record(&row)
}

/// What a call has told breakers: applied at its end, when it has taken all trees, in one order.
#[derive(Default)]
pub struct Told(BTreeMap<(String, String), Vec<BreakerEvent>>);

impl Told {
    pub fn note(&mut self, workflow: &str, events: Vec<(String, BreakerEvent)>) {
        for (node, event) in events {
            self.0.entry((workflow.to_owned(), node)).or_default().push(event);
        }
    }

    /// A breaker as it will be.
    pub fn over(&self, workflow: &str, node: &str, mut breaker: BreakerRec) -> BreakerRec {
        if self.0.is_empty() {
            return breaker;
        }
        for event in self.0.get(&(workflow.to_owned(), node.to_owned())).into_iter().flatten() {
            apply_breaker(&mut breaker, event);
        }
        breaker
    }

    /// Tells the stored breakers, each as the last call has left it.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn flush(&mut self, session: &Session) -> Result<()> {
        for ((workflow, node), events) in std::mem::take(&mut self.0) {
            let breaker = hold(session, &workflow, &node)?;
            let mut after = breaker;
            for event in &events {
                apply_breaker(&mut after, event);
            }
            if after != breaker {
                write(session, &workflow, &node, &after)?;
            }
        }
        Ok(())
    }
}

/// Locks a breaker, waiting for it; made when there is none.
fn hold(session: &Session, workflow: &str, node: &str) -> Result<BreakerRec> {
    loop {
        if let Some(row) = session.run(&HOLD, &Own, params![workflow, node])?.first() {
            return record(&row);
        }
        session.run(&MAKE, &Own, params![workflow, node])?;
        // Under one snapshot the row of another, made since, is never seen.
        if session.keeps_snapshot() {
            let row = session.run_latest(&HOLD, &Own, params![workflow, node])?.first();
            return row.map_or(Ok(BreakerRec::default()), |row| record(&row));
        }
    }
}

fn record(row: &Row) -> Result<BreakerRec> {
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

fn write(session: &Session, workflow: &str, node: &str, breaker: &BreakerRec) -> Result<()> {
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
