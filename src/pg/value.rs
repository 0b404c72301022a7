//! How values travel between Rust and Postgres: statement parameters, result columns, and the
//! argument and result types of the SQL functions.

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum as FcDatum;
use pgrx::nullable::Nullable;
use pgrx::pg_sys::{Datum, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum, Uuid, pg_sys};

use super::{Jsonb, Timestamp};

/// Types of columns, by short names.
pub mod kind {
    pub use pgrx::pg_sys::{
        BOOLOID as BOOL, FLOAT8OID as FLOAT8, INT2ARRAYOID as INT2S, INT2OID as INT2,
        INT4ARRAYOID as INT4S, INT4OID as INT4, INT8OID as INT8, JSONBOID as JSONB,
        TEXTARRAYOID as TEXTS, TEXTOID as TEXT, TIMESTAMPTZARRAYOID as TIMESTAMPTZS,
        TIMESTAMPTZOID as TIMESTAMPTZ, UUIDARRAYOID as UUIDS, UUIDOID as UUID,
    };
}

/// A statement's parameter: its type and its value, or NULL.
#[derive(Clone, Copy)]
pub struct Param {
    pub(super) oid: Oid,
    pub(super) datum: Option<Datum>,
}

/// A Rust value that can be a statement's parameter.
pub trait IntoParam {
    fn param(self) -> Param;
}

impl<T: SqlType> IntoParam for Option<T> {
    fn param(self) -> Param {
        Param { oid: T::OID, datum: self.map(SqlType::datum) }
    }
}

impl<T: SqlType> IntoParam for T {
    fn param(self) -> Param {
        Param { oid: T::OID, datum: Some(self.datum()) }
    }
}

/// A Rust type with one SQL type. Values by reference are copied into Postgres memory.
pub trait SqlType {
    const OID: Oid;
    fn datum(self) -> Datum;
}

macro_rules! sql_type {
    ($($rust:ty => $oid:ident, |$value:ident| $datum:expr;)*) => {
        $(impl SqlType for $rust {
            const OID: Oid = pg_sys::$oid;
            fn datum(self) -> Datum {
                let $value = self;
                $datum
            }
        })*
    };
}

sql_type! {
    &str => TEXTOID, |text| text.into_datum().unwrap_or(Datum::null());
    Uuid => UUIDOID, |id| id.into_datum().unwrap_or(Datum::null());
    Jsonb => JSONBOID, |json| json.datum();
    i16 => INT2OID, |number| Datum::from(number);
    i32 => INT4OID, |number| Datum::from(number);
    i64 => INT8OID, |number| Datum::from(number);
    bool => BOOLOID, |truth| Datum::from(truth);
    f64 => FLOAT8OID, |number| number.into_datum().unwrap_or(Datum::null());
    ::uuid::Uuid => UUIDOID, |id| SqlType::datum(Uuid::from_bytes(id.into_bytes()));
    Timestamp => TIMESTAMPTZOID, |at| Datum::from(at.micros());
    Vec<Option<Uuid>> => UUIDARRAYOID, |ids| ids.into_datum().unwrap_or(Datum::null());
    Vec<Option<Jsonb>> => JSONBARRAYOID, |values| values.into_datum().unwrap_or(Datum::null());
    Vec<Option<i16>> => INT2ARRAYOID, |numbers| numbers.into_datum().unwrap_or(Datum::null());
    Vec<Option<i32>> => INT4ARRAYOID, |numbers| numbers.into_datum().unwrap_or(Datum::null());
    Vec<Option<Timestamp>> => TIMESTAMPTZARRAYOID, |at| at.into_datum().unwrap_or(Datum::null());
    Vec<Option<String>> => TEXTARRAYOID, |texts| texts.into_datum().unwrap_or(Datum::null());
    Vec<Option<i64>> => INT8ARRAYOID, |numbers| numbers.into_datum().unwrap_or(Datum::null());
    Vec<Option<f64>> => FLOAT8ARRAYOID, |numbers| numbers.into_datum().unwrap_or(Datum::null());
    Vec<Option<bool>> => BOOLARRAYOID, |truths| truths.into_datum().unwrap_or(Datum::null());
    Vec<i32> => INT4ARRAYOID, |numbers| numbers.into_datum().unwrap_or(Datum::null());
    Vec<Uuid> => UUIDARRAYOID, |ids| ids.into_datum().unwrap_or(Datum::null());
    Vec<Option<::uuid::Uuid>> => UUIDARRAYOID, |ids| SqlType::datum(
        ids.into_iter().map(|id| id.map(|id| Uuid::from_bytes(id.into_bytes()))).collect::<Vec<_>>()
    );
    Oid => OIDOID, |id| Datum::from(id);
    Vec<String> => TEXTARRAYOID, |texts| texts.into_datum().unwrap_or(Datum::null());
}

/// A Rust type that a result column can be read as.
pub trait Column: Sized {
    /// The type that it is read from.
    const OID: Oid;

    /// # Safety
    /// `datum` is a non-null value of that type.
    unsafe fn read(datum: Datum) -> Option<Self>;
}

macro_rules! column {
    ($($rust:ty => $oid:ident),*) => {
        $(impl Column for $rust {
            const OID: Oid = pg_sys::$oid;

            unsafe fn read(datum: Datum) -> Option<Self> {
                // SAFETY: the caller's promise.
                unsafe { <$rust>::from_datum(datum, false) }
            }
        })*
    };
}

column!(
    String => TEXTOID, Uuid => UUIDOID, Jsonb => JSONBOID, i16 => INT2OID, i32 => INT4OID,
    i64 => INT8OID, f64 => FLOAT8OID, bool => BOOLOID, Vec<i16> => INT2ARRAYOID,
    Oid => OIDOID, Vec<i32> => INT4ARRAYOID, Vec<Uuid> => UUIDARRAYOID, Vec<Option<String>> => TEXTARRAYOID
);

impl Column for ::uuid::Uuid {
    const OID: Oid = pg_sys::UUIDOID;

    unsafe fn read(datum: Datum) -> Option<Self> {
        // SAFETY: the caller's promise.
        let id = unsafe { <Uuid as Column>::read(datum)? };
        Some(Self::from_bytes(*id.as_bytes()))
    }
}

impl Column for Timestamp {
    const OID: Oid = pg_sys::TIMESTAMPTZOID;

    unsafe fn read(datum: Datum) -> Option<Self> {
        Some(Self::from_micros(datum.value() as i64))
    }
}

impl Column for Vec<Timestamp> {
    const OID: Oid = pg_sys::TIMESTAMPTZARRAYOID;

    unsafe fn read(datum: Datum) -> Option<Self> {
        // SAFETY: the caller's promise; a timestamp is an eight-byte integer.
        let micros = unsafe { <Vec<i64>>::from_datum(datum, false)? };
        Some(micros.into_iter().map(Timestamp::from_micros).collect())
    }
}

/// Lets a type of ours be an argument and a result of a SQL function.
macro_rules! function_type {
    ($rust:ty, $sql:literal, $ident:literal) => {
        // SAFETY: the mapping names the SQL type whose datums the conversions read and make.
        unsafe impl SqlTranslatable for $rust {
            const TYPE_IDENT: &'static str = $ident;
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }

        // SAFETY: reads the argument's datum as the SQL type declared above.
        unsafe impl<'fcx> ArgAbi<'fcx> for $rust {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: pgrx calls this for arguments that are not NULL.
                unsafe {
                    match arg.unbox_arg_using_from_datum() {
                        Some(value) => value,
                        None => unreachable!("every SQL argument is an Option"),
                    }
                }
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: as above; NULL stays NULL.
                unsafe { arg.unbox_arg_using_from_datum().into() }
            }
        }

        // SAFETY: returns a datum of the SQL type declared above.
        unsafe impl BoxRet for $rust {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> FcDatum<'fcx> {
                match self.into_datum() {
                    // SAFETY: the datum is of the function's result type.
                    Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                    None => fcinfo.return_null(),
                }
            }
        }
    };
}

function_type!(Jsonb, "jsonb", "absurd::pg::Jsonb");
function_type!(Timestamp, "timestamptz", "absurd::pg::Timestamp");
function_type!(Interval, "interval", "absurd::pg::Interval");
function_type!(JsonbArray, "jsonb[]", "absurd::pg::JsonbArray");
function_type!(Role, "regrole", "absurd::pg::Role");
function_type!(WorkflowRunRow, "absurd.workflow_run", "absurd::pg::WorkflowRunRow");

impl FromDatum for Timestamp {
    unsafe fn from_polymorphic_datum(datum: Datum, null: bool, _: Oid) -> Option<Self> {
        (!null).then_some(Self::from_micros(datum.value() as i64))
    }
}

impl IntoDatum for Timestamp {
    fn into_datum(self) -> Option<Datum> {
        Some(Datum::from(self.micros()))
    }

    fn type_oid() -> Oid {
        pg_sys::TIMESTAMPTZOID
    }
}

/// Defines a type that is only carried: a datum of the named SQL type.
macro_rules! carried {
    ($(#[$doc:meta])* $rust:ident, $oid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $rust(pub(super) Datum);

        impl FromDatum for $rust {
            unsafe fn from_polymorphic_datum(datum: Datum, null: bool, _: Oid) -> Option<Self> {
                (!null).then_some(Self(datum))
            }
        }

        impl IntoDatum for $rust {
            fn into_datum(self) -> Option<Datum> {
                Some(self.0)
            }

            fn type_oid() -> Oid {
                $oid
            }
        }

        impl Column for $rust {
            const OID: Oid = $oid;

            unsafe fn read(datum: Datum) -> Option<Self> {
                Some(Self(datum))
            }
        }
    };
}

/// A role, as a `regrole`.
#[derive(Clone, Copy, Debug)]
pub struct Role(pub Oid);

impl FromDatum for Role {
    unsafe fn from_polymorphic_datum(datum: Datum, null: bool, _: Oid) -> Option<Self> {
        // SAFETY: a regrole is an oid.
        unsafe { Oid::from_datum(datum, null).map(Self) }
    }
}

impl IntoDatum for Role {
    fn into_datum(self) -> Option<Datum> {
        Some(Datum::from(self.0))
    }

    fn type_oid() -> Oid {
        pg_sys::REGROLEOID
    }
}

carried!(
    /// A `jsonb[]`.
    JsonbArray,
    pg_sys::JSONBARRAYOID
);

impl JsonbArray {
    /// The elements; they live as long as the call's arguments.
    pub fn elements(self) -> Vec<Option<Jsonb>> {
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: a non-null jsonb[]; jsonb is a varlena of int alignment. The arrays that come
        // back have `count` elements, and nothing is freed before the call ends.
        unsafe {
            let array = pg_sys::pg_detoast_datum(self.0.cast_mut_ptr()).cast();
            pg_sys::deconstruct_array(
                array,
                pg_sys::JSONBOID,
                -1,
                false,
                b'i' as std::ffi::c_char,
                &mut values,
                &mut nulls,
                &mut count,
            );
            (0..count as usize)
                .map(|i| (!*nulls.add(i)).then(|| Jsonb::from_raw(*values.add(i))))
                .collect()
        }
    }
}

carried!(
    /// An `interval`.
    Interval,
    pg_sys::INTERVALOID
);
carried!(
    /// A whole row of `absurd.workflow_run`, as a composite value.
    WorkflowRunRow,
    pg_sys::RECORDOID
);
