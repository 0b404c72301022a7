//! The only home of SPI and of `unsafe`.
//!
//! Everything above this module is ordinary safe Rust: it gets a [`Session`], runs [`Statement`]s
//! on it and returns `Result`s. How plans are kept, how values travel and how Postgres errors
//! cross Rust frames is decided here, once.

pub mod aborts;
pub mod catalog;
pub mod clock;
pub mod direct;
pub mod ereport;
mod ffi;
pub mod guc;
pub mod heap;
pub mod json;
mod jsonb_build;
pub mod lock;
mod major;
pub mod notify;
pub mod path;
pub mod plan;
pub mod planning;
pub mod rights;
pub mod row;
pub mod session;
pub mod shape;
pub mod subtransaction;
pub mod trigger;
pub mod uuid;
pub mod value;

pub use clock::Timestamp;
pub use json::Jsonb;
pub use pgrx::Uuid;
pub use pgrx::pg_sys::Oid;
pub use plan::Statement;
pub use row::{Row, Rows};
pub use session::{Session, call};
pub use value::Param;
