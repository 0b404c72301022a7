//! The SQL functions: each decodes its arguments, calls, and raises what went wrong. Nothing else
//! happens here.
//!
//! Every argument is an `Option`: NULL is a value to answer, never a silent NULL result.

// A SQL function's result columns stand in its signature; pgrx reads their names there.
#![allow(clippy::type_complexity)]

mod access;
mod batch;
mod checkpoint;
mod cron;
mod event;
mod execution;
mod execution_view;
mod maintenance;
mod queue;
mod repair;
mod task;
mod time;
mod workflow;

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::pg::ereport;
use crate::queue::QueueName;
use crate::unknown::Unknown;

/// The value of an argument that must have one.
fn required<T>(value: Option<T>, argument: impl Into<Cow<'static, str>>) -> Result<T> {
    value.ok_or_else(|| Error::null(argument))
}

/// Names members of options that nobody reads in a warning each, once a session.
fn warn_of(found: &[Unknown]) -> Result<()> {
    found.iter().try_for_each(|unknown| ereport::warn_once(&unknown.to_string()))
}

/// A queue that may be left out, which means all.
fn optional_queue(name: Option<&str>) -> Result<Option<QueueName>> {
    name.map(|name| QueueName::parse(Some(name))).transpose()
}

/// A UUID as the records of executed runs have it.
fn plain(id: crate::pg::Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*id.as_bytes())
}
