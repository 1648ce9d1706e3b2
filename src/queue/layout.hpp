#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "memory/segment.hpp"
#include "sync/event_count.hpp"
#include "sync/robust_mutex.hpp"

// What lies in the segment of a queue: the control block on the first page, behind the segment's header; the chunk
// table; the chunks. docs/design/queue.md tells the whole story.
namespace shoal::queue {

// Two lines: the hardware fetches neighbouring lines in pairs.
inline constexpr std::size_t separate = 128;

/// A stretch of the segment that records are written into, one behind the other. All chunks form one ring: from the
/// head's chunk to the tail's lie those in use, behind the tail's up to the head's the free ones, in the order they
/// will be used in.
struct alignas(32) chunk {
  std::uint64_t offset;             // in the segment; written once, before the chunk is linked
  std::uint64_t size;               // in bytes, a multiple of a page; as above
  std::atomic<std::uint32_t> next;  // index of the next in the ring; stored under the tail lock
};

/// A place among the records.
struct position {
  std::uint32_t chunk;
  std::uint64_t offset;  // in the chunk
};

/// A count and a position that change together in one store, however much of the change a killed process had prepared.
///
/// The position has two slots. `word` is count << 1 | the slot that is valid; a change writes the other slot and then
/// stores the word. Guarded by a lock; only count() may be called without it.
class committed_position {
 public:
  [[nodiscard]] std::uint64_t count() const noexcept { return word_.load(std::memory_order_seq_cst) >> 1; }
  [[nodiscard]] const position& get() const noexcept { return slots_[word_.load(std::memory_order_relaxed) & 1]; }

  void prepare(const position& next) noexcept { slots_[(word_.load(std::memory_order_relaxed) & 1) ^ 1] = next; }

  /// COMMIT: makes the prepared position and a count higher by `items` real. Sequentially consistent, since event_count
  /// needs it.
  void commit(std::uint64_t items) noexcept {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    word_.store((word + (items << 1)) ^ 1, std::memory_order_seq_cst);
  }

 private:
  std::atomic<std::uint64_t> word_;
  position slots_[2];
};

/// The producers' end.
struct alignas(separate) tail_end {
  sync::robust_mutex lock;                 // guards everything below, and the links of the ring
  committed_position pushed;               // records ever pushed, and where the next one goes
  std::uint64_t popped_seen;               // what head_end::popped was when last read; may lag, never leads
  std::atomic<std::uint32_t> chunk_count;  // chunks in the table; see recover_tail for the one that may be missing
  std::uint32_t grown_behind;              // the chunk that the newest was linked behind, stored before the link
};

/// The consumers' end.
struct alignas(separate) head_end {
  sync::robust_mutex lock;           // guards everything below
  committed_position popped;         // records ever popped, and where the next one is
  std::uint64_t pushed_seen;         // what tail_end::pushed was when last read; may lag, never leads
  std::atomic<std::uint32_t> chunk;  // that of `popped`, for producers looking for a free one; may lag behind it
};

/// What is known of the readiness descriptor. Killed between the descriptor and this word, a process leaves `changing`,
/// which both sides put right: a producer that needs it raised, and a consumer that finds the queue empty.
enum class readiness_state : std::uint32_t {
  lowered,   // it is not readable
  raised,    // it is readable
  changing,  // it may be either
};

struct control {
  alignas(separate) tail_end tail;
  alignas(separate) head_end head;
  alignas(separate) sync::event_count items;  // consumers asleep until something is pushed
  alignas(separate) sync::event_count space;  // producers asleep until something is popped
  // Seldom written, and read by both ends at every record: not on the line of either.
  alignas(separate) std::atomic<std::uint32_t> closed;
  std::atomic<readiness_state> readiness;  // changes under the tail lock
  std::atomic<std::uint32_t> polled;       // somebody has asked for the readiness descriptor
  std::uint64_t capacity;                  // in records; 0: unbounded
  std::uint64_t chunk_limit;               // entries the chunk table has room for
};

inline constexpr std::size_t control_offset = separate;
static_assert(sizeof(memory::segment_header) <= control_offset);
static_assert(control_offset + sizeof(control) <= memory::page_size);

inline constexpr std::size_t table_offset = memory::page_size;
inline constexpr std::size_t chunk_size = 64 * 1024;

/// A record is preceded by one word: its size << 8 | its encoding. Records are aligned to words.
using record_header = std::uint64_t;
inline constexpr record_header end_of_chunk = ~record_header{0};  // no record: the next one is in the next chunk

constexpr std::size_t round_up(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit * unit; }

constexpr std::size_t space_for(std::size_t record_size) {
  return sizeof(record_header) + round_up(record_size, sizeof(record_header));
}

}  // namespace shoal::queue
