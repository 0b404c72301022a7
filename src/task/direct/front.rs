//! What the last look at the front of a queue has found, as it was written down.

use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Key, Layout, Table};
use crate::pg::plan::Own;
use crate::pg::value::{Column, kind};
use crate::pg::{Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;

/// Names the columns of `queue_watermark`, for reading them either way.
macro_rules! stored {
    ($first:ident: $first_rust:ty = $first_kind:ident $(, $name:ident: $rust:ty = $kind:ident)* $(,)?) => {
        /// A row of `queue_watermark`.
        pub struct Stored {
            pub $first: $first_rust,
            $(pub $name: $rust),*
        }

        static LAYOUT: Layout = Layout {
            columns: &[
                (stringify!($first), kind::$first_kind),
                $((stringify!($name), kind::$kind)),*
            ],
            key: "btree (queue_name)",
        };

        static STORED: Statement = Statement::new(concat!(
            "select ", stringify!($first), $(", ", stringify!($name),)*
            " from absurd.queue_watermark where queue_name = $1"
        ));

        impl Stored {
            fn read(row: &impl Source) -> Result<Self> {
                let mut places = 0..;
                let mut place = || places.next().unwrap_or_default();
                Ok(Self { $first: row.value(place())?, $($name: row.value(place())?),* })
            }
        }
    };
}

stored! {
    scanned_at: Timestamp = TIMESTAMPTZ,
    fully_scanned_at: Timestamp = TIMESTAMPTZ,
    scan_seconds: f64 = FLOAT8,
    full_scan_blocks: i64 = INT8,
    full_scan_seconds: f64 = FLOAT8,
    is_overdue: bool = BOOL,
    sweeps_confirmed: Vec<Timestamp> = TIMESTAMPTZS,
    sweep_candidates: Vec<Timestamp> = TIMESTAMPTZS,
    priorities: Vec<i16> = INT2S,
    low_watermarks: Vec<Timestamp> = TIMESTAMPTZS,
    confirmed: Vec<Timestamp> = TIMESTAMPTZS,
    candidates: Vec<Timestamp> = TIMESTAMPTZS,
    weeks: Vec<Option<String>> = TEXTS,
    weeks_until: Vec<Timestamp> = TIMESTAMPTZS,
    late_priorities: Vec<i16> = INT2S,
    late_due_times: Vec<Timestamp> = TIMESTAMPTZS,
    late_runs: Vec<Uuid> = UUIDS,
}

/// The place of the first.
const SCANNED_AT: usize = 0;

/// A row, found either way.
trait Source {
    fn value<T: Column>(&self, place: usize) -> Result<T>;
}

impl Source for Table {
    fn value<T: Column>(&self, place: usize) -> Result<T> {
        self.need(place)
    }
}

impl Source for Row {
    fn value<T: Column>(&self, place: usize) -> Result<T> {
        self.need(place)
    }
}

/// A queue's row, when there is one and it is wanted: `is_news` is asked with when a claim last
/// looked.
///
/// # Errors
/// Postgres's own.
pub fn read(
    session: &Session,
    queue: &QueueName,
    is_news: impl Fn(Timestamp) -> bool,
) -> Result<Option<Stored>> {
    let fronts = session.table("queue_watermark", &LAYOUT, Access::ReadOwn)?;
    if let Some(fronts) = fronts {
        let found = session.with_snapshot(|| {
            let found = fronts.find(&[Key::is(1, queue.as_str())])?;
            let is_wanted = found == Some(true) && is_news(fronts.need(SCANNED_AT)?);
            let stored = is_wanted.then(|| Stored::read(&*fronts)).transpose()?;
            Ok(found.map(|_| stored))
        })?;
        if let Some(stored) = found {
            return Ok(stored);
        }
    }
    let rows = session.run(&STORED, &Own, params![queue.as_str()])?;
    match rows.first() {
        Some(row) if is_news(row.need(SCANNED_AT)?) => Stored::read(&row).map(Some),
        _ => Ok(None),
    }
}
