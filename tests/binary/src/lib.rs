//! Every function of the extension, called as typed drivers call it.
//!
//! [`calls`] has one line or a few for each function, [`database`] the rows that they work on. The
//! tests in `tests/` make every call with parameters of different types and read the results in the
//! binary format.

pub mod call;
pub mod calls;
pub mod database;
