//! Circuit breakers: one per workflow name and node id, shared by all runs.

use crate::error::Result;
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::workflow::driver::rows;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{BreakerRec, Prober, ScopeId, StepKey};

static READ: Statement = Statement::new(
    "select failures, successes, open_until
       from absurd.workflow_breaker
      where workflow_name = $1 and step_name = $2",
);
/// A run that ended without saying so probes no longer.
static LOCK: Statement = Statement::new(
    "select b.failures, b.successes, b.open_until, e.workflow_run_id, b.probing_scope,
            b.probing_node
       from absurd.workflow_breaker b
       left join absurd.workflow_execution e
         on e.workflow_run_id = b.probing_run and e.status in ('pending', 'running')
      where b.workflow_name = $1 and b.step_name = $2
        for update of b skip locked",
);
static WRITE: Statement = Statement::new(
    "insert into absurd.workflow_breaker
         (workflow_name, step_name, failures, successes, open_until, probing_run, probing_scope,
          probing_node)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (workflow_name, step_name) do update
        set failures = excluded.failures, successes = excluded.successes,
            open_until = excluded.open_until, probing_run = excluded.probing_run,
            probing_scope = excluded.probing_scope, probing_node = excluded.probing_node",
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
    let prober =
        match (row.get(3)?, rows::optional_number(&row, 4)?, rows::optional_number(&row, 5)?) {
            (Some(run), Some(scope), Some(node)) => {
                Some(Prober { run, step: StepKey { scope: ScopeId(scope), node: NodeIx(node) } })
            }
            _ => None,
        };
    Ok(BreakerRec {
        failures: rows::number(&row, 0)?,
        successes: rows::number(&row, 1)?,
        open_until: row.get(2)?,
        probing: prober.is_some(),
        prober,
    })
}

/// Stores a breaker as a transition left it.
pub fn write(session: &Session, workflow: &str, node: &str, breaker: &BreakerRec) -> Result<()> {
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
    session.run(&WRITE, &Own, values)?;
    Ok(())
}
