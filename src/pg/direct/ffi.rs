//! What the direct path calls in Postgres 15, without pgrx's own catch around each.

use std::ffi::{c_int, c_void};

use pgrx::pg_sys::{
    Datum, EPQState, EState, IndexScanDesc, List, MemoryContext, Oid, PartitionDesc, Plan,
    Relation, ResultRelInfo, ScanDirection, ScanKeyData, Snapshot, TransactionId, TupleDesc,
    TupleTableSlot, TupleTableSlotOps,
};

unsafe extern "C-unwind" {
    pub fn try_table_open(table: Oid, lock: c_int) -> Relation;
    pub fn table_close(table: Relation, lock: c_int);
    pub fn try_relation_open(relation: Oid, lock: c_int) -> Relation;
    pub fn relation_close(relation: Relation, lock: c_int);
    pub fn table_slot_create(table: Relation, list: *mut *mut List) -> *mut TupleTableSlot;
    pub fn MakeSingleTupleTableSlot(
        descriptor: TupleDesc,
        ops: *const TupleTableSlotOps,
    ) -> *mut TupleTableSlot;
    pub fn ExecDropSingleTupleTableSlot(slot: *mut TupleTableSlot);
    pub fn ExecStoreVirtualTuple(slot: *mut TupleTableSlot) -> *mut TupleTableSlot;
    pub fn slot_getsomeattrs_int(slot: *mut TupleTableSlot, count: c_int);

    pub fn CreateExecutorState() -> *mut EState;
    pub fn ExecResetTupleTable(slots: *mut List, should_free: bool);
    pub fn FreeExecutorState(state: *mut EState);
    pub fn ExecInitRangeTable(state: *mut EState, table: *mut List);
    pub fn InitResultRelInfo(
        info: *mut ResultRelInfo,
        table: Relation,
        index: u32,
        root: *mut ResultRelInfo,
        instrument: c_int,
    );
    pub fn ExecOpenIndices(info: *mut ResultRelInfo, speculative: bool);
    pub fn ExecCloseIndices(info: *mut ResultRelInfo);
    pub fn EvalPlanQualInit(
        recheck: *mut EPQState,
        state: *mut EState,
        plan: *mut Plan,
        marks: *mut List,
        parameter: c_int,
    );
    pub fn ExecSimpleRelationInsert(
        info: *mut ResultRelInfo,
        state: *mut EState,
        new: *mut TupleTableSlot,
    );
    pub fn ExecSimpleRelationUpdate(
        info: *mut ResultRelInfo,
        state: *mut EState,
        recheck: *mut EPQState,
        old: *mut TupleTableSlot,
        new: *mut TupleTableSlot,
    );
    pub fn AfterTriggerBeginQuery();
    pub fn AfterTriggerEndQuery(state: *mut EState);

    pub fn index_beginscan(
        table: Relation,
        index: Relation,
        snapshot: Snapshot,
        keys: c_int,
        orders: c_int,
    ) -> IndexScanDesc;
    pub fn index_rescan(
        scan: IndexScanDesc,
        keys: *mut ScanKeyData,
        count: c_int,
        orders: *mut ScanKeyData,
        order_count: c_int,
    );
    pub fn index_getnext_slot(
        scan: IndexScanDesc,
        direction: ScanDirection::Type,
        slot: *mut TupleTableSlot,
    ) -> bool;
    pub fn index_endscan(scan: IndexScanDesc);
    pub fn ScanKeyEntryInitialize(
        entry: *mut ScanKeyData,
        flags: c_int,
        column: i16,
        strategy: u16,
        subtype: Oid,
        collation: Oid,
        procedure: Oid,
        argument: Datum,
    );

    pub fn LockBuffer(buffer: pgrx::pg_sys::Buffer, mode: c_int);
    pub fn TransactionIdIsInProgress(transaction: TransactionId) -> bool;
    pub fn MultiXactIdIsRunning(multi: TransactionId, lock_only: bool) -> bool;
    pub fn GetTransactionSnapshot() -> Snapshot;
    pub fn GetActiveSnapshot() -> Snapshot;
    pub fn PushActiveSnapshot(snapshot: Snapshot);
    pub fn PopActiveSnapshot();
    pub fn GetCurrentCommandId(used: bool) -> u32;
    pub fn CommandCounterIncrement();
    pub fn IsInParallelMode() -> bool;
    pub fn bms_add_member(
        set: *mut pgrx::pg_sys::Bitmapset,
        member: c_int,
    ) -> *mut pgrx::pg_sys::Bitmapset;
    pub fn list_make1_impl(kind: pgrx::pg_sys::NodeTag, datum: pgrx::pg_sys::ListCell)
    -> *mut List;
    pub fn RelationGetPrimaryKeyIndex(table: Relation) -> Oid;
    pub fn RelationGetIndexList(table: Relation) -> *mut List;
    pub fn RelationGetPartitionDesc(table: Relation, omit_detached: bool) -> PartitionDesc;
    pub fn palloc0(size: usize) -> *mut c_void;
    pub fn MemoryContextReset(context: MemoryContext);
    pub fn datumCopy(value: Datum, by_value: bool, length: c_int) -> Datum;
}
