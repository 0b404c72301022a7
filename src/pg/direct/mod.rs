//! Rows of one table, read and written without a statement.
//!
//! What a short statement costs is mostly not its rows. The executor makes its nodes, expressions
//! and tuple descriptors anew with every execution, which often takes longer than what follows. So
//! what nearly every step of a workflow reads and writes of the engine's own tables goes to table
//! and index as a worker of logical replication does: look a row up by an index under a snapshot,
//! lock it, and hand its successor to the executor's function for such a row, which keeps the
//! table's constraints, triggers and indexes. And a claim looks at the first entries of a queue's
//! indexes the same way, but writes nothing of a queue so.
//!
//! Every such path has a statement that does the same, and leaves to it whatever is not plain, see
//! [`Why`]; `absurd.fast_path()` shows it.

mod index;
mod known;
mod parts;
mod places;
mod rows;
mod scan;
mod table;
mod usage;
mod walk;

pub use index::{Key, Which};
pub use parts::{Parts, count as count_parts};
pub(super) use table::Tables;
pub use table::{Access, Layout, Table};
pub use usage::{Usage, Why, usage};
pub use walk::Found;

/// Names the columns of a table that a direct path reads or writes: a constant for each, and the
/// [`Layout`] that they are places in. First stands what `pg_get_indexdef` says of the primary key
/// after `USING`.
#[macro_export]
macro_rules! layout {
    ($key:literal; $($constant:ident $name:literal $kind:ident,)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, dead_code)]
        enum Place { $($constant),* }
        $(#[allow(dead_code)]
        pub const $constant: usize = Place::$constant as usize;)*
        pub const COLUMNS: $crate::pg::shape::Columns =
            &[$(($name, $crate::pg::value::kind::$kind)),*];
        #[allow(dead_code)]
        pub static LAYOUT: $crate::pg::direct::Layout =
            $crate::pg::direct::Layout { columns: COLUMNS, key: $key };
    };
}
