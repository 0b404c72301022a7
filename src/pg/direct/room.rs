//! Pages for new row versions, kept ready.
//!
//! When a page is full and the free space map knows no other, Postgres makes a table one page longer, and
//! whoever else has come that far waits for the lock on that: with as many backends as share a queue, a
//! spawn, and now and then a claim, waited for another to be given its turn by the machine. So a backend that
//! fills pages takes the next one while there is room in the one before, and when somebody else is making
//! the table longer just then, it takes it with one of its next rows.
//!
//! A page in hand is marked as full in the free space map, so that nobody is sent there; one that was never
//! used is found by the next vacuum. It is a suggestion all along: Postgres looks for itself whether a row
//! fits in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::InvalidBlockNumber as NONE;

use super::ffi;
use super::table::{Table, Writing};

const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;
const PAGE: usize = pg_sys::BLCKSZ as usize;

/// What a page's header takes, and a row's place in its list.
const HEADER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);
const ITEM: usize = size_of::<pg_sys::ItemIdData>();
/// A row's header, without its map of nulls.
const ROW: usize = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_bits);

/// Rows above this are stored elsewhere in part, and how long they are then is not known beforehand:
/// TOAST_TUPLE_THRESHOLD of Postgres's heaptoast.h.
const LONGEST: usize = 2032;

/// So much room makes a page an empty one for Postgres, whatever else is to be kept free: unused places in
/// its list take some, up to an eighth of all that it can have (nearlyEmptyFreeSpace of hio.c).
const EMPTY: usize = PAGE - aligned(HEADER + ITEM) - PLACES / 8 * ITEM;
const PLACES: usize = (PAGE - HEADER) / (aligned(ROW) + ITEM);

/// What is remembered of so many tables, of some 16 bytes each.
const MOST: usize = 1024;

/// So many pages that the free space map offers are looked at before the table is made longer.
const OFFERS: usize = 3;

/// What a backend knows of the pages that it writes to.
#[derive(Clone, Copy)]
struct Ahead {
    /// The page that its rows were last put into, and the buffer it was last found in.
    current: u32,
    buffer: pg_sys::Buffer,
    /// The page that is to be next.
    next: u32,
    /// Whether the backend fills pages, and so should have one in hand.
    fills: bool,
}

impl Ahead {
    fn begin(current: u32) -> Self {
        Self { current, buffer: 0, next: NONE, fills: false }
    }
}

thread_local! {
    /// By the table's file, which is another one after a TRUNCATE.
    static PAGES: RefCell<HashMap<u32, Ahead>> = RefCell::default();
}

impl Table {
    /// Before the row to write is inserted: sees to it that the table's current page has room for it.
    ///
    /// # Safety
    /// To be called under `guarded`, with the row in its slot.
    pub(super) unsafe fn make_room(&self, writing: Writing) {
        // SAFETY: the caller's promise. Nothing in here calls back, so the map is free to be borrowed, and
        // not borrowed when Postgres raises an error.
        unsafe {
            let file = (*self.relation).rd_node.relNode.to_u32();
            let mut page = current_page(self.relation);
            let known = PAGES.with_borrow(|pages| pages.get(&file).copied());
            let mut ahead = known.unwrap_or(Ahead::begin(page));
            if page == NONE && ahead.fills {
                // Postgres forgets it when something of the table has changed.
                page = self.go_on_with(ahead.current);
            }
            if ahead.next != NONE && (page == NONE || self.is_full(page, &mut ahead, writing)) {
                page = self.go_on_with(ahead.next);
                ahead.next = NONE;
            }
            ahead.fills |= page != NONE && ahead.current != NONE && page != ahead.current;
            ahead.current = page;
            if ahead.fills && ahead.next == NONE && page != NONE {
                let need = self.length(writing).map(|length| self.room_for(length));
                ahead.next = need.map_or(NONE, |need| take(self.relation, need));
            }
            PAGES.with_borrow_mut(|pages| {
                if pages.len() >= MOST && !pages.contains_key(&file) {
                    pages.clear();
                }
                pages.insert(file, ahead);
            });
        }
    }

    /// Before the row to write takes the place of the one read last, which mostly has room beside it.
    ///
    /// # Safety
    /// As [`Table::make_room`].
    pub(super) unsafe fn make_room_beside(&self, writing: Writing) {
        // SAFETY: the caller's promise; the slot was made for rows of a heap's buffers.
        unsafe {
            let buffer = (*self.row.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            let beside = if buffer > 0 { room_in(buffer) } else { 0 };
            if beside < LONGEST && self.length(writing).is_some_and(|length| length > beside) {
                self.make_room(writing);
            }
        }
    }

    /// Lets Postgres look at a page first; at none when the table has become shorter.
    unsafe fn go_on_with(&self, page: u32) -> u32 {
        // SAFETY: an open relation, whose file has been opened when its length has been asked for.
        unsafe {
            if page >= ffi::RelationGetNumberOfBlocksInFork(self.relation, MAIN) {
                return NONE;
            }
            if let Some(file) = (*self.relation).rd_smgr.as_mut() {
                file.smgr_targblock = page;
            }
            page
        }
    }

    /// Whether the row to write does not go into a page any more. Postgres sees for itself where its length
    /// is not known.
    unsafe fn is_full(&self, page: u32, ahead: &mut Ahead, writing: Writing) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let room = room(self.relation, page, &mut ahead.buffer);
            let is_full = room < self.room_for(LONGEST)
                && self.length(writing).is_some_and(|length| room < self.room_for(length));
            if is_full {
                // A shorter row may go there yet.
                ffi::RecordPageWithFreeSpace(self.relation, page, room);
            }
            is_full
        }
    }

    /// The room that a page must have for an insert of so many bytes.
    unsafe fn room_for(&self, length: usize) -> usize {
        // SAFETY: an open relation; the options of a table are of this type.
        let kept_free = unsafe {
            let options = (*self.relation).rd_options.cast::<pg_sys::StdRdOptions>();
            let filled = options.as_ref().map_or(100, |options| options.fillfactor as usize);
            PAGE * (100 - filled) / 100
        };
        (length + kept_free).min(EMPTY)
    }

    /// The bytes that the row to write takes in a page; none when they are not known.
    unsafe fn length(&self, Writing { new, .. }: Writing) -> Option<usize> {
        // SAFETY: the caller's promise: the slot holds a value for each column.
        let bytes = unsafe {
            let descriptor = (*self.relation).rd_att;
            // A row of so many columns has some that are null, and so the map of those.
            let map = ((*descriptor).natts as usize).div_ceil(8);
            let (values, is_null) = ((*new).tts_values, (*new).tts_isnull);
            aligned(aligned(ROW + map) + ffi::heap_compute_data_size(descriptor, values, is_null))
        };
        (bytes <= LONGEST).then_some(bytes)
    }
}

/// The page that Postgres will look at first for a new row.
unsafe fn current_page(table: pg_sys::Relation) -> u32 {
    // SAFETY: an open relation.
    unsafe { (*table).rd_smgr.as_ref().map_or(NONE, |file| file.smgr_targblock) }
}

/// Takes a page with `need` bytes, or makes the table longer by one; none when somebody else does so now.
unsafe fn take(table: pg_sys::Relation, need: usize) -> u32 {
    // SAFETY: the caller's open relation.
    unsafe {
        for _ in 0..OFFERS {
            let page = ffi::GetPageWithFreeSpace(table, need);
            if page == NONE || page >= ffi::RelationGetNumberOfBlocksInFork(table, MAIN) {
                break;
            }
            // Nobody else is to be sent there, and nobody at all if the map was wrong.
            ffi::RecordPageWithFreeSpace(table, page, 0);
            if room(table, page, &mut 0) >= need {
                return page;
            }
        }
        let lock = pg_sys::ExclusiveLock as i32;
        if !ffi::ConditionalLockRelationForExtension(table, lock) {
            return NONE;
        }
        // As Postgres itself makes a table longer by more than it needs at once: the page's first row
        // describes it in the write-ahead log.
        let how = pg_sys::ReadBufferMode::RBM_ZERO_AND_LOCK;
        let buffer = ffi::ReadBufferExtended(table, MAIN, NONE, how, null_mut());
        ffi::PageInit(pg_sys::BufferGetPage(buffer), PAGE, 0);
        ffi::MarkBufferDirty(buffer);
        let page = ffi::BufferGetBlockNumber(buffer);
        ffi::UnlockReleaseBuffer(buffer);
        ffi::UnlockRelationForExtension(table, lock);
        page
    }
}

/// The room in a page, as of just now, and the buffer it was found in.
unsafe fn room(table: pg_sys::Relation, page: u32, buffer: &mut pg_sys::Buffer) -> usize {
    // SAFETY: the caller's open relation, of which the page is one.
    unsafe {
        let node = (*table).rd_node;
        if *buffer <= 0 || !ffi::ReadRecentBuffer(node, MAIN, page, *buffer) {
            *buffer = ffi::ReadBuffer(table, page);
        }
        let room = room_in(*buffer);
        ffi::ReleaseBuffer(*buffer);
        room
    }
}

/// The room for one more row in a page that is pinned, as of just now: it is not locked for that.
unsafe fn room_in(buffer: pg_sys::Buffer) -> usize {
    // SAFETY: the caller's buffer, pinned.
    unsafe {
        let page = pg_sys::BufferGetPage(buffer).cast::<pg_sys::PageHeaderData>();
        let lower = usize::from((&raw const (*page).pd_lower).read_volatile());
        let upper = usize::from((&raw const (*page).pd_upper).read_volatile());
        // A page of nothing but zeros is made one when it is first used.
        let free = if upper == 0 { PAGE - HEADER } else { upper.saturating_sub(lower) };
        free.saturating_sub(ITEM)
    }
}

const fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(pg_sys::MAXIMUM_ALIGNOF as usize)
}
