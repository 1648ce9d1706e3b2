#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "memory/segment.hpp"
#include "sync/event_count.hpp"
#include "sync/robust_mutex.hpp"

// What lies in the segment of a queue:
//
//   page 0          the segment's header and the control block
//   first_chunk     chunk 0, near the control block, so that a queue that stays small needs few page tables
//   table_offset    the chunk table, one entry a chunk
//   ledger_offset   the lease ledger, one entry a lease
//   data_offset     the other chunks
//
// docs/design/queue.md tells the whole story.
namespace shoal::queue {

// Two lines: the hardware fetches neighbouring lines in pairs.
inline constexpr std::size_t separate = 128;
inline constexpr std::size_t line = 64;

inline constexpr std::size_t chunk_size = 64 * 1024;
inline constexpr std::uint32_t no_chunk = 0;  // where an index is stored plus one

/// A stretch of the segment. Either it belongs to the chain of records, in which producers append to the last and
/// consumers take from the first, or to one of the heap's stacks, or to a process that reserved it.
struct alignas(line) chunk {
  std::uint64_t offset;                 // in the segment; written once, before anybody else knows the chunk
  std::uint64_t size;                   // in bytes, a multiple of a page; as above
  std::atomic<std::uint64_t> owner;     // the holder that writes or reads it in place; 0: nobody
  std::atomic<std::uint64_t> resident;  // so many bytes from its beginning have memory; the rest may have none
  std::atomic<std::uint32_t> next;      // index of the next in the chain, index + 1 of the next in a stack
  std::atomic<std::uint32_t> lease;     // index + 1 of a ledger entry that refers to it, if any does; see lease_ledger
  std::uint32_t mark;                   // chunk_heap::recover's
};

/// A place among the records, and what lies before it.
struct position {
  std::uint32_t chunk;
  std::uint64_t offset;  // in the chunk
  std::uint64_t bytes;   // of all records before it, since the beginning
};

/// A count and a position that change together in one store, however much of the change a killed process had prepared.
///
/// The position has two slots. `word` is count << 1 | the slot that is valid; a change writes the other slot and then
/// stores the word. Guarded by a lock; only count() and bytes() may be called without it.
class committed_position {
 public:
  [[nodiscard]] std::uint64_t count() const noexcept { return word_.load(std::memory_order_seq_cst) >> 1; }

  [[nodiscard]] position get() const noexcept { return read(word_.load(std::memory_order_relaxed)); }

  /// The bytes of all records before the position, at some instant of the call.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    for (;;) {
      // A slot is written to only after the word has named the other one.
      const std::uint64_t word = word_.load(std::memory_order_seq_cst);
      const std::uint64_t found = slots_[word & 1].bytes.load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (word_.load(std::memory_order_relaxed) == word) {
        return found;
      }
    }
  }

  void prepare(const position& next) noexcept {
    slot& to = slots_[(word_.load(std::memory_order_relaxed) & 1) ^ 1];
    to.chunk = next.chunk;
    to.offset = next.offset;
    // Release: whoever reads these bytes in place of older ones also finds that the word has changed since.
    to.bytes.store(next.bytes, std::memory_order_release);
  }

  /// COMMIT: makes the prepared position and a count higher by `items` real. Sequentially consistent, since event_count
  /// needs it.
  void commit(std::uint64_t items) noexcept {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    word_.store((word + (items << 1)) ^ 1, std::memory_order_seq_cst);
  }

 private:
  struct slot {
    std::uint32_t chunk;
    std::uint64_t offset;
    std::atomic<std::uint64_t> bytes;
  };

  [[nodiscard]] position read(std::uint64_t word) const noexcept {
    const slot& valid = slots_[word & 1];
    return {valid.chunk, valid.offset, valid.bytes.load(std::memory_order_relaxed)};
  }

  std::atomic<std::uint64_t> word_;
  std::array<slot, 2> slots_;
};

// Chunks for large records come in steps of a quarter of a power of two, so that the free ones fit records of about the
// same size.
constexpr std::uint64_t chunk_size_for(std::uint64_t space) {
  if (space <= chunk_size) {
    return chunk_size;
  }
  const auto shift = static_cast<unsigned>(std::bit_width(space)) - 3;
  return ((space + (std::uint64_t{1} << shift) - 1) >> shift) << shift;
}

inline constexpr std::size_t size_classes = 1 + 4 * (48 - 16);  // up to 2^48 bytes

constexpr std::size_t size_class_of(std::uint64_t size) {
  const auto width = std::max(static_cast<unsigned>(std::bit_width(size)), 17U);  // of the smallest: 17
  return std::size_t{4} * (width - 17) + ((size - std::bit_floor(size)) >> (width - 3));
}
static_assert(size_class_of(chunk_size) == 0 && size_class_of(chunk_size_for(chunk_size + 1)) == 1);

/// The chunks that hold no records, and those whose records have been taken. Guarded by the tail lock. See chunk_heap.
struct heap_state {
  std::atomic<std::uint32_t> chunk_count;  // in the table
  std::uint32_t oldest;  // the chain's first chunk; those before the head's have been taken out of, not put away
  std::uint32_t epoch;   // of the marks
  // Stacks of free chunks, index + 1 of the topmost, linked by `next`.
  std::array<std::uint32_t, size_classes> warm;  // whose memory is there
  std::array<std::uint32_t, size_classes> cold;  // whose memory went back to the system
  std::array<std::uint32_t, 2> held;  // that somebody reads in place, or has on lease; looked through in turn
};

/// The producers' end.
struct alignas(separate) tail_end {
  sync::robust_mutex lock;    // guards everything below, and the links between chunks
  committed_position pushed;  // records ever pushed, and where the next one goes
  std::uint64_t popped_seen;  // what head_end::popped was when last read; may lag, never leads
};

/// The consumers' end.
struct alignas(separate) head_end {
  sync::robust_mutex lock;              // guards everything below, and the ledger
  committed_position popped;            // records ever popped, and where the next one is
  std::uint64_t pushed_seen;            // what tail_end::pushed was when last read; may lag, never leads
  std::atomic<std::uint32_t> returned;  // leases that have come back and wait at the front: as many as the ledger has
  std::atomic<std::uint32_t> chunk;     // that of `popped`, for producers looking for a free one; may lag behind it
};

/// What a descriptor that polls readable says. Killed between the descriptor and this word, a process leaves
/// `changing`, which both sides put right: one that needs it raised, and one that would have it lowered.
enum class readiness_state : std::uint32_t {
  lowered,   // it is not readable
  raised,    // it is readable
  changing,  // it may be either
};

struct readiness_word {
  std::atomic<readiness_state> state;  // changes under the lock of the end that raises it
  std::atomic<std::uint32_t> polled;   // somebody has asked for the descriptor
};

/// A record out on lease, or come back from it. Guarded by the head lock, but for `word` becoming free.
struct alignas(line) ledger_entry {
  // free_lease. returned_lease: waits at the front of the queue. abandoned_lease: as if its holder were dead. Else the
  // holder that has it.
  std::atomic<std::uint64_t> word;
  std::uint64_t ticket;
  std::uint64_t offset;
  std::atomic<std::uint32_t> chunk;
  std::atomic<std::int32_t> process;  // the holder's id, which may be another's by now
};
inline constexpr std::uint64_t free_lease = 0;
inline constexpr std::uint64_t returned_lease = ~std::uint64_t{0};
inline constexpr std::uint64_t abandoned_lease = returned_lease - 1;
inline constexpr std::uint32_t most_leases = 65536;

struct ledger_state {
  std::atomic<std::uint32_t> used;    // entries from the beginning that may be in use
  std::uint32_t cursor;               // where to look for a free one
  std::atomic<std::uint32_t> active;  // at least so many are out on lease as there are; exact after a look at all
};

/// Chunks that processes are writing large records to, index + 1, so that those of the dead can be found. Guarded by
/// the tail lock.
inline constexpr std::size_t most_reserved = 128;

struct control {
  alignas(separate) tail_end tail;
  alignas(separate) head_end head;
  alignas(separate) sync::event_count items;  // consumers asleep until something is pushed
  alignas(separate) sync::event_count space;  // producers asleep until something is popped
  // Seldom written, and read by both ends at every record: not on the line of either.
  alignas(separate) std::atomic<std::uint32_t> closed;
  std::atomic<std::uint32_t> damaged;  // a recovery has found it overwritten
  std::atomic<std::uint32_t> watched;  // the system may raise the readiness descriptor when a process dies
  readiness_word ready;                // not empty, or closed
  readiness_word room;                 // not full, or closed
  std::uint64_t capacity;              // in records; 0: unbounded
  std::uint64_t capacity_bytes;        // 0: unbounded
  std::uint64_t chunk_limit;           // entries the chunk table has room for
  alignas(separate) heap_state heap;
  std::array<std::uint32_t, most_reserved> reserved;
  alignas(separate) ledger_state ledger;
  alignas(separate) std::atomic<std::uint64_t> resident;  // bytes of all chunks that have memory, roughly
  std::atomic<std::uint64_t> lent;                        // bytes of chunks read or written in place, roughly
  std::atomic<std::uint64_t> last_holder;                 // the number given to the newest
  alignas(separate) std::atomic<std::uint64_t> done;      // records counted as worked on
  sync::event_count all_done;                             // processes asleep until all are
};

inline constexpr std::size_t control_offset = separate;
static_assert(sizeof(memory::segment_header) <= control_offset);
static_assert(control_offset + sizeof(control) <= memory::page_size);

constexpr std::size_t round_up(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit * unit; }

inline constexpr std::size_t first_chunk_offset = memory::page_size;
inline constexpr std::size_t table_offset = first_chunk_offset + chunk_size;

/// Where things lie that depend on how large the segment may grow.
struct places {
  explicit constexpr places(std::size_t segment_size)
      : chunk_limit(segment_size / chunk_size),
        // Of a small segment a small part.
        lease_limit(std::min<std::size_t>(most_leases, segment_size / 16 / sizeof(ledger_entry))),
        ledger_offset(round_up(table_offset + chunk_limit * sizeof(chunk), memory::page_size)),
        data_offset(round_up(ledger_offset + lease_limit * sizeof(ledger_entry), memory::page_size)) {}

  std::size_t chunk_limit;
  std::size_t lease_limit;
  std::size_t ledger_offset;
  std::size_t data_offset;
};

/// A record is preceded by one word: its size << 8 | its encoding. Records are aligned to words.
using record_header = std::uint64_t;
inline constexpr record_header end_of_chunk = ~record_header{0};  // no record: the next one is in the next chunk

constexpr std::size_t space_for(std::size_t record_size) {
  return sizeof(record_header) + round_up(record_size, sizeof(record_header));
}

}  // namespace shoal::queue
