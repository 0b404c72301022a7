//! Which tables are used without statements, and why others are not.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Why a statement is used in the place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The setting `absurd.direct`.
    Off,
    /// The transaction keeps one snapshot.
    Snapshot,
    /// An extension wants to see every access (`ExecutorCheckPerms_hook`, as pgaudit's).
    Audited,
    Missing,
    NotOurs,
    Kind,
    Children,
    Rules,
    RowSecurity,
    Triggers,
    Columns,
    Rights,
    /// Nothing may be written: a read-only transaction, or a parallel one.
    ReadOnly,
}

impl Why {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "absurd.direct is off",
            Self::Snapshot => "the transaction keeps one snapshot",
            Self::Audited => "an extension checks the rights of every access",
            Self::Missing => "there is no such table",
            Self::NotOurs => "neither the extension's owner nor a superuser owns it",
            Self::Kind => "it is not a plain heap table, or a partition where none is wanted",
            Self::Children => "other tables inherit from it",
            Self::Rules => "it has rules",
            Self::RowSecurity => "it has row security",
            Self::Triggers => "it has triggers of statements",
            Self::Columns => "a column is missing or has another type",
            Self::Rights => "the role lacks a right on the whole table",
            Self::ReadOnly => "the transaction is read-only or parallel",
        }
    }
}

/// How often this backend has used a table without a statement, and how often it had to use one.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    pub used: i64,
    pub fell_back: i64,
}

/// Tables that are counted; others are not.
const MOST: usize = 4096;

thread_local! {
    static USAGE: RefCell<BTreeMap<Box<str>, Usage>> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn count(table: &str, why: Option<Why>) {
    USAGE.with_borrow_mut(|usage| {
        if !usage.contains_key(table) {
            if usage.len() >= MOST {
                return;
            }
            usage.insert(table.into(), Usage::default());
        }
        if let Some(counted) = usage.get_mut(table) {
            match why {
                None => counted.used += 1,
                Some(_) => counted.fell_back += 1,
            }
        }
    });
}

/// What has been counted of a table in this backend.
pub fn usage(table: &str) -> Usage {
    USAGE.with_borrow(|usage| usage.get(table).copied().unwrap_or_default())
}
