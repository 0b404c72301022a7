//! Rows of one table, read and written without a statement.
//!
//! What a short statement costs is mostly not its rows. The executor makes its nodes, expressions and
//! tuple descriptors anew with every execution, which often takes longer than what follows: of a step of a
//! workflow, a sixth was finding and writing rows. So the hottest paths go to tables and indexes the way
//! the catalogue's own code does: look a row up by index under a snapshot, form its successor, hand it to
//! the table's access method and to its indexes, with the executor's own functions for constraints and
//! index entries.
//!
//! Every such path has a statement that does the same, and leaves to it whatever is not plain: a table
//! that has triggers, rules, row security or generated columns; one that is partitioned, unless its partitions
//! are opened one by one; a caller without the rights; a snapshot that the transaction keeps; a row that
//! somebody else has changed meanwhile.

mod compiled;
mod ffi;
mod hold;
mod index;
mod known;
mod parts;
mod room;
mod rows;
mod scan;
mod table;
mod triggers;
mod walk;

pub use hold::Tid;
pub use index::{Key, Which};
pub use parts::{Parts, count as count_parts};
pub use rows::Change;
pub use scan::Scan;
pub(super) use table::Tables;
pub use table::{Access, Layout, Table};
pub use walk::Found;

/// Names the columns of a table that a direct path reads or writes: a constant for each, and the
/// [`Layout`] that they are places in. First stands what `pg_get_indexdef` says of the primary key after
/// `USING`, then the functions of triggers and the foreign keys that the path answers for.
#[macro_export]
macro_rules! layout {
    (
        $key:literal $(does [$($does:literal),*])? $(refers [$($refers:literal),*])?;
        $($constant:ident $name:literal $kind:ident,)*
    ) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, dead_code)]
        enum Place { $($constant),* }
        $(#[allow(dead_code)]
        pub const $constant: usize = Place::$constant as usize;)*
        pub static LAYOUT: $crate::pg::direct::Layout = $crate::pg::direct::Layout {
            columns: &[$(($name, $crate::pg::value::kind::$kind)),*],
            key: $key,
            does: &[$($($does),*)?],
            refers: &[$($($refers),*)?],
        };
    };
}
