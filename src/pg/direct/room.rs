//! Pages for new row versions, kept ready.
//!
//! When a page is full and the free space map knows no other, Postgres makes a table one page longer, and
//! whoever else has come that far waits for the lock on that: with as many backends as share a queue, a
//! spawn, and now and then a claim, waited for another to be given its turn by the machine. So a backend that
//! fills pages takes the next one as soon as it comes to one, and when somebody else is making the table longer
//! just then, with one of its next rows. Only for the last few rows would be too late: where many share a
//! processor, whoever holds the lock is now and then without one for longer than that.
//!
//! A page in hand is a suggestion. Nothing keeps others away, Postgres looks for itself whether a row fits
//! in, and what is not used the free space map has already or gets with the next vacuum.

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

/// A page in hand has so much room beyond what a row takes, some four to seven rows, when it is taken and
/// again when as much is left in the one before: others may be sent there, too.
const SPARE: usize = 1024;

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
        // SAFETY: the caller's promise. The map is not borrowed when Postgres may raise an error.
        unsafe {
            let file = (*self.relation).rd_node.relNode.to_u32();
            let known = PAGES.with_borrow(|pages| pages.get(&file).copied());
            let mut ahead = known.unwrap_or(Ahead::begin(current_page(self.relation)));
            self.look_ahead(&mut ahead, writing);
            PAGES.with_borrow_mut(|pages| {
                if pages.len() >= MOST && !pages.contains_key(&file) {
                    pages.retain(|_, ahead| ahead.next != NONE);
                    if pages.len() >= MOST {
                        pages.clear();
                    }
                }
                pages.insert(file, ahead);
            });
        }
    }

    unsafe fn look_ahead(&self, ahead: &mut Ahead, writing: Writing) {
        let table = self.relation;
        // SAFETY: the caller's promise.
        unsafe {
            let mut page = current_page(table);
            if page == NONE && ahead.fills && is_there(table, ahead.current) {
                // Postgres forgets it when something of the table has changed.
                page = ahead.current;
                go_on_with(table, page);
            }
            ahead.fills |= page != NONE && ahead.current != NONE && page != ahead.current;
            ahead.current = page;
            if page == NONE || !ahead.fills {
                return;
            }
            let left = room(table, page, &mut ahead.buffer);
            if ahead.next != NONE && left >= self.room_for(LONGEST) + SPARE {
                return;
            }
            // Where the length is not known, Postgres sees for itself.
            let Some(length) = self.length(writing) else { return };
            let need = self.room_for(length);
            if left < need {
                // A shorter row may go there yet.
                ffi::RecordPageWithFreeSpace(table, page, left);
                let mut next = std::mem::replace(&mut ahead.next, NONE);
                if !has_room(table, next, need) {
                    next = take(table, page, need);
                }
                if next != NONE {
                    ahead.current = next;
                    go_on_with(table, next);
                }
                return;
            }
            let more = (need + SPARE).min(EMPTY);
            if ahead.next == NONE || left < more && !has_room(table, ahead.next, more) {
                ahead.next = take(table, page, more);
            }
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

/// Lets Postgres look at a page first that is there, as has been asked: so the table's file is open.
unsafe fn go_on_with(table: pg_sys::Relation, page: u32) {
    // SAFETY: an open relation.
    if let Some(file) = unsafe { (*table).rd_smgr.as_mut() } {
        file.smgr_targblock = page;
    }
}

unsafe fn is_there(table: pg_sys::Relation, page: u32) -> bool {
    // SAFETY: an open relation, locked: nobody makes it shorter now.
    page != NONE && unsafe { page < ffi::RelationGetNumberOfBlocksInFork(table, MAIN) }
}

unsafe fn has_room(table: pg_sys::Relation, page: u32, need: usize) -> bool {
    // SAFETY: the caller's open relation.
    unsafe { is_there(table, page) && room(table, page, &mut 0) >= need }
}

/// Takes another page with `need` bytes than the current one, or makes the table longer by one; none when
/// somebody else does so now.
unsafe fn take(table: pg_sys::Relation, current: u32, need: usize) -> u32 {
    // SAFETY: the caller's open relation.
    unsafe {
        for _ in 0..OFFERS {
            let page = ffi::GetPageWithFreeSpace(table, need);
            if !is_there(table, page) {
                break;
            }
            let room = room(table, page, &mut 0);
            if page != current && room >= need {
                return page;
            }
            ffi::RecordPageWithFreeSpace(table, page, room);
        }
        let lock = pg_sys::ExclusiveLock as i32;
        if !ffi::ConditionalLockRelationForExtension(table, lock) {
            return NONE;
        }
        // As RelationAddExtraBlocks has it: the page stays as it is, all zeros, for whoever puts the first row
        // there, and for the vacuum that finds it unused.
        let how = pg_sys::ReadBufferMode::RBM_ZERO_AND_LOCK;
        let buffer = ffi::ReadBufferExtended(table, MAIN, NONE, how, null_mut());
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
        let may_reuse = (*page).pd_flags & pg_sys::PD_HAS_FREE_LINES as u16 != 0;
        let has_place = may_reuse || lower < HEADER + PLACES * ITEM;
        if has_place { free.saturating_sub(ITEM) } else { 0 }
    }
}

const fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(pg_sys::MAXIMUM_ALIGNOF as usize)
}
