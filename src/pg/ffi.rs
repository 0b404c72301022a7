//! What is called of Postgres without pgrx's own catch around each call: `guarded` catches around
//! several, and what cannot fail needs none.
//!
//! The prototypes are ours; where pgrx has one too, the compiler compares both, for each major.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

use pgrx::pg_sys;

/// Declares functions, and has the compiler compare them with pgrx's.
macro_rules! foreign {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        unsafe extern "C-unwind" {
            $(pub fn $name($($arg: $type),*) $(-> $result)?;)*
        }
        $(const _: unsafe fn($($type),*) $(-> $result)? = pg_sys::$name;)*
    };
}

foreign! {
    fn try_table_open(table: pg_sys::Oid, lock: c_int) -> pg_sys::Relation;
    fn table_close(table: pg_sys::Relation, lock: c_int);
    fn try_relation_open(relation: pg_sys::Oid, lock: c_int) -> pg_sys::Relation;
    fn relation_close(relation: pg_sys::Relation, lock: c_int);
    fn table_slot_create(
        table: pg_sys::Relation,
        list: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::TupleTableSlot;
    fn MakeSingleTupleTableSlot(
        descriptor: pg_sys::TupleDesc,
        ops: *const pg_sys::TupleTableSlotOps,
    ) -> *mut pg_sys::TupleTableSlot;
    fn ExecDropSingleTupleTableSlot(slot: *mut pg_sys::TupleTableSlot);
    fn ExecStoreVirtualTuple(slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::TupleTableSlot;
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, count: c_int);
    fn CreateExecutorState() -> *mut pg_sys::EState;
    fn ExecResetTupleTable(slots: *mut pg_sys::List, should_free: bool);
    fn FreeExecutorState(state: *mut pg_sys::EState);
    fn InitResultRelInfo(
        info: *mut pg_sys::ResultRelInfo,
        table: pg_sys::Relation,
        index: u32,
        root: *mut pg_sys::ResultRelInfo,
        instrument: c_int,
    );
    fn ExecOpenIndices(info: *mut pg_sys::ResultRelInfo, speculative: bool);
    fn ExecCloseIndices(info: *mut pg_sys::ResultRelInfo);
    fn ExecSimpleRelationInsert(
        info: *mut pg_sys::ResultRelInfo,
        state: *mut pg_sys::EState,
        new: *mut pg_sys::TupleTableSlot,
    );
    fn ExecSimpleRelationUpdate(
        info: *mut pg_sys::ResultRelInfo,
        state: *mut pg_sys::EState,
        recheck: *mut pg_sys::EPQState,
        old: *mut pg_sys::TupleTableSlot,
        new: *mut pg_sys::TupleTableSlot,
    );
    fn AfterTriggerBeginQuery();
    fn AfterTriggerEndQuery(state: *mut pg_sys::EState);
    fn index_rescan(
        scan: pg_sys::IndexScanDesc,
        keys: *mut pg_sys::ScanKeyData,
        count: c_int,
        orders: *mut pg_sys::ScanKeyData,
        order_count: c_int,
    );
    fn index_getnext_slot(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn index_endscan(scan: pg_sys::IndexScanDesc);
    fn ScanKeyEntryInitialize(
        entry: *mut pg_sys::ScanKeyData,
        flags: c_int,
        column: i16,
        strategy: u16,
        subtype: pg_sys::Oid,
        collation: pg_sys::Oid,
        procedure: pg_sys::Oid,
        argument: pg_sys::Datum,
    );
    fn LockBuffer(buffer: pg_sys::Buffer, mode: c_int);
    fn TransactionIdIsInProgress(transaction: pg_sys::TransactionId) -> bool;
    fn MultiXactIdIsRunning(multi: pg_sys::TransactionId, lock_only: bool) -> bool;
    fn GetTransactionSnapshot() -> pg_sys::Snapshot;
    fn GetActiveSnapshot() -> pg_sys::Snapshot;
    fn PushActiveSnapshot(snapshot: pg_sys::Snapshot);
    fn PopActiveSnapshot();
    fn GetCurrentCommandId(used: bool) -> u32;
    fn CommandCounterIncrement();
    fn IsInParallelMode() -> bool;
    fn bms_add_member(set: *mut pg_sys::Bitmapset, member: c_int) -> *mut pg_sys::Bitmapset;
    fn list_make1_impl(kind: pg_sys::NodeTag, datum: pg_sys::ListCell) -> *mut pg_sys::List;
    fn RelationGetIndexList(table: pg_sys::Relation) -> *mut pg_sys::List;
    fn RelationGetPartitionDesc(
        table: pg_sys::Relation,
        omit_detached: bool,
    ) -> pg_sys::PartitionDesc;
    fn palloc0(size: usize) -> *mut c_void;
    fn MemoryContextReset(context: pg_sys::MemoryContext);

    fn LockAcquire(tag: *const pg_sys::LOCKTAG, mode: c_int, session: bool, dont_wait: bool) -> u32;
    fn GetCurrentTransactionNestLevel() -> c_int;

    fn superuser() -> bool;
    fn GetUserId() -> pg_sys::Oid;
    fn GetUserIdAndSecContext(role: *mut pg_sys::Oid, context: *mut i32);
    fn SetUserIdAndSecContext(role: pg_sys::Oid, context: i32);
    fn has_privs_of_role(member: pg_sys::Oid, role: pg_sys::Oid) -> bool;
    fn GetUserNameFromId(role: pg_sys::Oid, missing_ok: bool) -> *mut c_char;
    fn superuser_arg(role: pg_sys::Oid) -> bool;
    fn GetSystemIdentifier() -> u64;

    fn JsonbValueToJsonb(value: *mut pg_sys::JsonbValue) -> *mut pg_sys::Jsonb;

    fn NewGUCNestLevel() -> c_int;
    fn AtEOXact_GUC(commit: bool, level: c_int);

    fn RegisterXactCallback(callback: pg_sys::XactCallback, argument: *mut c_void);
    fn RegisterSubXactCallback(callback: pg_sys::SubXactCallback, argument: *mut c_void);

    fn BeginInternalSubTransaction(name: *const c_char);
    fn ReleaseCurrentSubTransaction();
    fn RollbackAndReleaseCurrentSubTransaction();

    fn get_namespace_oid(name: *const c_char, missing_ok: bool) -> pg_sys::Oid;
    fn get_relname_relid(name: *const c_char, namespace: pg_sys::Oid) -> pg_sys::Oid;
    fn pg_class_aclcheck(relation: pg_sys::Oid, role: pg_sys::Oid, mode: pg_sys::AclMode) -> u32;
    fn pg_attribute_aclcheck_all(
        relation: pg_sys::Oid,
        role: pg_sys::Oid,
        mode: pg_sys::AclMode,
        how: pg_sys::AclMaskHow::Type,
    ) -> u32;
    fn check_enable_rls(relation: pg_sys::Oid, role: pg_sys::Oid, no_error: bool) -> c_int;
    fn SearchSysCache1(cache: i32, key: pg_sys::Datum) -> pg_sys::HeapTuple;
    fn ReleaseSysCache(tuple: pg_sys::HeapTuple);
    fn pg_get_indexdef_string(index: pg_sys::Oid) -> *mut c_char;
    fn get_rel_relkind(relation: pg_sys::Oid) -> c_char;
    fn get_rel_name(relation: pg_sys::Oid) -> *mut c_char;
    fn LockRelationOid(relation: pg_sys::Oid, mode: c_int);

    fn set_config_option(
        name: *const c_char,
        value: *const c_char,
        context: c_uint,
        source: c_uint,
        action: c_uint,
        change: bool,
        elevel: c_int,
        reload: bool,
    ) -> c_int;
    fn MarkGUCPrefixReserved(prefix: *const c_char);

    fn toast_raw_datum_size(value: pg_sys::Datum) -> usize;
    fn pg_detoast_datum(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    fn JsonbIteratorInit(root: *mut pg_sys::JsonbContainer) -> *mut pg_sys::JsonbIterator;
    fn JsonbIteratorNext(
        iterator: *mut *mut pg_sys::JsonbIterator,
        value: *mut pg_sys::JsonbValue,
        skip_nested: bool,
    ) -> pg_sys::JsonbIteratorToken::Type;
    fn ProcessInterrupts();
    fn DirectFunctionCall1Coll(
        function: pg_sys::PGFunction,
        collation: pg_sys::Oid,
        argument: pg_sys::Datum,
    ) -> pg_sys::Datum;
    fn numeric_out(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum;

    fn OidInputFunctionCall(
        function: pg_sys::Oid,
        text: *mut c_char,
        ioparam: pg_sys::Oid,
        typmod: i32,
    ) -> pg_sys::Datum;

    fn SPI_getbinval(
        tuple: pg_sys::HeapTuple,
        desc: pg_sys::TupleDesc,
        number: c_int,
        null: *mut bool,
    ) -> pg_sys::Datum;

    fn SPI_prepare_params(
        source: *const c_char,
        setup: pg_sys::ParserSetupHook,
        argument: *mut c_void,
        options: c_int,
    ) -> pg_sys::SPIPlanPtr;
    fn SPI_keepplan(plan: pg_sys::SPIPlanPtr) -> c_int;
    fn SPI_freeplan(plan: pg_sys::SPIPlanPtr) -> c_int;
    fn SPI_plan_get_plan_sources(plan: pg_sys::SPIPlanPtr) -> *mut pg_sys::List;
    fn MemoryContextMemAllocated(context: pg_sys::MemoryContext, recurse: bool) -> usize;

    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;

    fn CacheRegisterRelcacheCallback(f: pg_sys::RelcacheCallbackFunction, argument: pg_sys::Datum);
    fn CacheRegisterSyscacheCallback(
        cache: i32,
        f: pg_sys::SyscacheCallbackFunction,
        argument: pg_sys::Datum,
    );
    fn SearchSysCache2(
        cache: i32,
        first: pg_sys::Datum,
        second: pg_sys::Datum,
    ) -> pg_sys::HeapTuple;
    fn getExtensionOfObject(class: pg_sys::Oid, object: pg_sys::Oid) -> pg_sys::Oid;
    fn get_extension_oid(name: *const c_char, missing_ok: bool) -> pg_sys::Oid;

    fn CacheInvalidateRelcacheByRelid(relation: pg_sys::Oid);

    fn SPI_connect() -> c_int;
    fn SPI_finish() -> c_int;
    fn AcceptInvalidationMessages();
    fn SPI_execute_plan_with_paramlist(
        plan: pg_sys::SPIPlanPtr,
        params: pg_sys::ParamListInfo,
        read_only: bool,
        count: c_long,
    ) -> c_int;
    fn makeParamList(count: c_int) -> pg_sys::ParamListInfo;
    fn GetLatestSnapshot() -> pg_sys::Snapshot;
    fn SPI_datumTransfer(value: pg_sys::Datum, by_value: bool, length: c_int) -> pg_sys::Datum;
}

// pgrx has no binding of these, and of the last one none that says that it does not return.
unsafe extern "C-unwind" {
    pub fn datumCopy(value: pg_sys::Datum, by_value: bool, length: c_int) -> pg_sys::Datum;
    pub fn hash_bytes_extended(bytes: *const u8, length: c_int, seed: u64) -> u64;
    pub fn setup_parse_fixed_parameters(
        state: *mut pg_sys::ParseState,
        types: *const pg_sys::Oid,
        count: c_int,
    );
    pub fn get_partition_parent(partition: pg_sys::Oid, even_if_detached: bool) -> pg_sys::Oid;
    pub fn errstart(elevel: c_int, domain: *const c_char) -> bool;
    pub fn errcode(sqlerrcode: c_int) -> c_int;
    pub fn errmsg(fmt: *const c_char, ...) -> c_int;
    pub fn errdetail(fmt: *const c_char, ...) -> c_int;
    pub fn errhint(fmt: *const c_char, ...) -> c_int;
    pub fn errfinish(filename: *const c_char, lineno: c_int, funcname: *const c_char);
    pub fn Async_Notify(channel: *const c_char, payload: *const c_char);
    pub fn ReThrowError(edata: *mut pg_sys::ErrorData) -> !;
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
foreign! {
    fn LockHeldByMe(tag: *const pg_sys::LOCKTAG, mode: c_int) -> bool;
    fn PushOverrideSearchPath(path: *mut pg_sys::OverrideSearchPath);
    fn PopOverrideSearchPath();
}
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
foreign! {
    fn LockHeldByMe(tag: *const pg_sys::LOCKTAG, mode: c_int, or_stronger: bool) -> bool;
}
#[cfg(feature = "pg15")]
foreign! {
    fn ExecInitRangeTable(state: *mut pg_sys::EState, table: *mut pg_sys::List);
    fn EvalPlanQualInit(
        recheck: *mut pg_sys::EPQState,
        state: *mut pg_sys::EState,
        plan: *mut pg_sys::Plan,
        marks: *mut pg_sys::List,
        parameter: c_int,
    );
}
#[cfg(any(feature = "pg16", feature = "pg17"))]
foreign! {
    fn ExecInitRangeTable(
        state: *mut pg_sys::EState,
        table: *mut pg_sys::List,
        permissions: *mut pg_sys::List,
    );
}
#[cfg(not(feature = "pg15"))]
foreign! {
    fn EvalPlanQualInit(
        recheck: *mut pg_sys::EPQState,
        state: *mut pg_sys::EState,
        plan: *mut pg_sys::Plan,
        marks: *mut pg_sys::List,
        parameter: c_int,
        results: *mut pg_sys::List,
    );
}
#[cfg(not(feature = "pg18"))]
foreign! {
    fn RelationGetPrimaryKeyIndex(table: pg_sys::Relation) -> pg_sys::Oid;
    fn index_beginscan(
        table: pg_sys::Relation,
        index: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        keys: c_int,
        orders: c_int,
    ) -> pg_sys::IndexScanDesc;
}
#[cfg(feature = "pg18")]
foreign! {
    fn RelationGetPrimaryKeyIndex(table: pg_sys::Relation, deferrable: bool) -> pg_sys::Oid;
    fn ExecInitRangeTable(
        state: *mut pg_sys::EState,
        table: *mut pg_sys::List,
        permissions: *mut pg_sys::List,
        unpruned: *mut pg_sys::Bitmapset,
    );
    fn index_beginscan(
        table: pg_sys::Relation,
        index: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        instrument: *mut pg_sys::IndexScanInstrumentation,
        keys: c_int,
        orders: c_int,
    ) -> pg_sys::IndexScanDesc;
    fn bms_make_singleton(member: c_int) -> *mut pg_sys::Bitmapset;
}
