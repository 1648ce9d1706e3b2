#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shoal/deadline.hpp"
#include "shoal/record.hpp"

namespace shoal {

namespace queue_detail {
class handle;
}

/// How a call on a queue ended.
enum class queue_status {
  ok,
  timed_out,    ///< nothing happened before the deadline: the queue was full, or empty
  closed,       ///< closed to new records (push), or closed and drained (pop)
  interrupted,  ///< a signal was handled, or may have been, while waiting; nothing happened. Call again to go on
                ///< waiting.
  busy,  ///< only with no_waiting: another process is at work at this end, or was stopped there; nothing happened
};

/// The descriptors by which a process that is not a fork of the creator reaches a queue.
struct queue_descriptors {
  int segment = -1;    ///< the shared memory
  int readiness = -1;  ///< the eventfd that polls readable while the queue is not empty
  int room = -1;       ///< the eventfd that polls readable while the queue is not full; -1: the queue has no bound
};

struct queue_options {
  std::size_t capacity = 0;  ///< the most records it may hold; 0: no bound but memory
  std::size_t capacity_bytes =
      0;                      ///< it takes no more while its records together have that many bytes; 0: no such bound
  std::string label{};        ///< seen in /proc/PID/fd as memfd:shoal:queue:LABEL
  std::size_t max_bytes = 0;  ///< the most shared memory it may grow to; 0: as much as the machine has
};

/// A record that is to be pushed: its bytes are those of `parts`, one behind the other.
struct outgoing_record {
  encoding tag = encoding::raw;
  std::span<const const_bytes> parts;
};

/// Records that were taken together, in memory of this process. Meant to be reused, as a `record`.
class record_batch {
 public:
  struct entry {
    encoding tag;
    const_bytes bytes;
  };

  [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }
  [[nodiscard]] bool empty() const noexcept { return places_.empty(); }
  [[nodiscard]] entry operator[](std::size_t index) const noexcept {
    const place& at = places_[index];
    return {at.tag, {bytes_.get() + at.offset, at.size}};
  }
  void clear() noexcept {
    places_.clear();
    used_ = 0;
  }

  /// Appends a record of `size` bytes and returns where they go. @throws std::bad_alloc  the batch is unchanged.
  std::byte* append(encoding tag, std::size_t size);

 private:
  struct place {
    encoding tag;
    std::size_t offset;
    std::size_t size;
  };
  std::vector<place> places_;
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t used_ = 0;
  std::size_t capacity_ = 0;
};

/// A record that was taken out of a queue and, if it is a large one, left where it is: in shared memory, which nobody
/// else writes to until this object ends. A small one (`in_place()` is false) was copied.
///
/// Keeps the queue's memory mapped; may outlive the byte_queue it came from. Threads: may be destroyed by any. fork:
/// the child's copy refers to the same bytes, which stay until parent and child have both let go of them. Kill-safety:
/// the memory of a killed holder comes back to the queue.
class borrowed_record {
 public:
  borrowed_record() noexcept = default;
  borrowed_record(borrowed_record&& other) noexcept;
  borrowed_record& operator=(borrowed_record&& other) noexcept;
  borrowed_record(const borrowed_record&) = delete;
  borrowed_record& operator=(const borrowed_record&) = delete;
  ~borrowed_record() { reset(); }

  [[nodiscard]] encoding tag() const noexcept { return in_place() ? tag_ : copy_.tag(); }
  [[nodiscard]] const_bytes bytes() const noexcept { return in_place() ? const_bytes(bytes_) : copy_.bytes(); }
  /// The same, to be written to by whoever holds this object; empty unless in_place().
  [[nodiscard]] std::span<std::byte> writable_bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool in_place() const noexcept { return queue_ != nullptr; }

  /// Gives the memory back. A copy's buffer is kept for the next record.
  void reset() noexcept;

 private:
  friend class queue_detail::handle;
  std::shared_ptr<queue_detail::handle> queue_;
  std::shared_ptr<const void> holder_;
  std::span<std::byte> bytes_;
  std::uint32_t chunk_ = 0;
  encoding tag_ = encoding::raw;
  record copy_;
};

/// Room in shared memory for a record that is not in the queue yet: write to it, then push it. Given back if it is
/// destroyed before. Threads, fork, kill-safety: as `borrowed_record`; a fork's child must not push it.
class reserved_record {
 public:
  reserved_record() noexcept = default;
  reserved_record(reserved_record&& other) noexcept;
  reserved_record& operator=(reserved_record&& other) noexcept;
  reserved_record(const reserved_record&) = delete;
  reserved_record& operator=(const reserved_record&) = delete;
  ~reserved_record() { reset(); }

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  void reset() noexcept;  ///< gives it back unused

 private:
  friend class queue_detail::handle;
  std::shared_ptr<queue_detail::handle> queue_;
  std::shared_ptr<const void> holder_;
  std::span<std::byte> bytes_;
  std::uint32_t chunk_ = 0;
};

/// A record taken on lease: it counts as taken, and comes back to the front of the queue unless it is acknowledged:
/// when this object ends, or when its process does, in whatever way. (If a stopped process keeps a lock, this object's
/// end waits a second for it, and leaves the rest to the next consumer that finds nothing.) Among those that come back
/// the oldest is first.
///
/// May outlive the byte_queue it came from. Threads: none share one without a lock of their own. fork: the lease stays
/// the parent's; the child's copy does nothing. Kill-safety: acknowledged or not, never both nor neither.
class lease {
 public:
  lease() noexcept = default;
  lease(lease&& other) noexcept;
  lease& operator=(lease&& other) noexcept;
  lease(const lease&) = delete;
  lease& operator=(const lease&) = delete;
  ~lease();

  [[nodiscard]] encoding tag() const noexcept { return record_.tag(); }
  [[nodiscard]] const_bytes bytes() const noexcept { return record_.bytes(); }
  [[nodiscard]] std::uint64_t ticket() const noexcept { return ticket_; }  ///< see byte_queue::pushed()
  [[nodiscard]] bool active() const noexcept { return queue_ != nullptr; }

  /// The record is done with: it will not come back. @return false if the lease was not active.
  bool acknowledge() noexcept;

  /// Gives the record back to the queue now, or does nothing if the lease is not active.
  /// @return ok, or timed_out, interrupted: a process was stopped while it held a lock; the lease is still active.
  queue_status give_back(deadline until = deadline::max());

 private:
  friend class queue_detail::handle;
  void end() noexcept;

  std::shared_ptr<queue_detail::handle> queue_;
  std::shared_ptr<const void> holder_;
  std::uint32_t entry_ = 0;
  std::uint64_t ticket_ = 0;
  record record_;
};

/// A first-in first-out queue of byte records between processes, for any number of producers and consumers.
///
/// A handle: the queue itself lives in a memfd and ends with the last handle or descriptor, in whatever process.
/// Records are whole or absent, and leave in the order in which they were committed, but for leases that come back.
///
/// Threads: all members but the destructor may be called concurrently. fork: the child shares the queue. exec: pass
/// `descriptors()` and `attach`. Signals: a wait returns `interrupted`; see `queue<T>` for calls that go on by
/// themselves. Kill-safety: at any instruction, in any process; a record of a killed producer is whole or absent, that
/// of a killed consumer taken or still there. See docs/design/queue.md.
class byte_queue {
 public:
  /// Records of at least so many bytes are large: they get memory of their own, are copied into it without holding a
  /// lock, and can be borrowed in place.
  static constexpr std::size_t large = 32 * 1024;

  /// @throws std::system_error  no descriptor, memory or address space left.
  explicit byte_queue(const queue_options& options = {});

  /// Joins the queue behind descriptors that were inherited or received; they are duplicated, not consumed.
  /// @throws shoal::error       not a queue of this layout (says what was found).
  /// @throws std::system_error  a descriptor is not open; no memory.
  static byte_queue attach(queue_descriptors descriptors);

  byte_queue(byte_queue&&) noexcept;
  byte_queue& operator=(byte_queue&&) noexcept;
  byte_queue(const byte_queue&) = delete;
  byte_queue& operator=(const byte_queue&) = delete;
  ~byte_queue();

  /// Appends one record made of `parts`, one behind the other, waiting while the queue is full.
  /// @throws std::bad_alloc  no memory for it; the queue is as before.
  queue_status push(encoding tag, std::span<const const_bytes> parts, deadline until = deadline::max());
  queue_status push(encoding tag, const_bytes bytes, deadline until = deadline::max()) {
    return push(tag, {&bytes, 1}, until);
  }

  /// Appends records, under one lock and with one wake-up for as many of them as there is room for, waiting for room
  /// for the rest. Adds to `pushed` how many of them are in the queue, however the call ends: it may be called again
  /// with the rest. @throws  as push.
  queue_status push_many(std::span<const outgoing_record> records, std::size_t& pushed,
                         deadline until = deadline::max());

  /// Room for one large record, of at least one byte, to be written in place.
  /// @return ok, closed, or timed_out, interrupted, busy: a process was stopped while it pushed.
  /// @throws std::bad_alloc  no memory for it; the queue is as before.
  queue_status reserve(reserved_record& out, std::size_t size, deadline until = deadline::max());

  /// Appends a record that was written in place, waiting while the queue is full. Unless it returns ok, `ready` is as
  /// before. @throws std::invalid_argument  `ready` is none of this queue's, or a parent's.
  queue_status push(encoding tag, reserved_record& ready, deadline until = deadline::max());

  /// Takes the oldest record into `out`, waiting while the queue is empty. A queue that is closed and empty says
  /// `closed` even while records are out on lease, which may yet come back.
  /// @throws std::bad_alloc  no memory for it in this process; the record stays in the queue.
  /// @throws shoal::error    errc::corrupt_record: the segment was overwritten; the queue is of no further use.
  queue_status pop(record& out, deadline until = deadline::max());

  /// As `pop`, and stores the record's ticket (see `pushed()`) plus one in `claim`, a word in shared memory, before the
  /// removal becomes real. So whoever reads `claim` after the death of the taker knows what it took: if `popped()` is
  /// at least the claim, the record with that ticket is gone from the queue; otherwise it is still there. Not for
  /// queues whose records are also taken on lease.
  queue_status pop(record& out, std::atomic<std::uint64_t>& claim, deadline until = deadline::max());

  /// Takes up to `most` records that are there, waiting only for the first, under one lock; appends them to `out`. It
  /// may take fewer, so that no lock is held while megabytes are copied. @throws  as pop.
  queue_status pop_many(record_batch& out, std::size_t most, deadline until = deadline::max());

  /// The same, but if a large record is in front, that one alone is taken, and stays in shared memory: after `ok`
  /// either `out` has grown or `large_one` is in place. @throws  as pop.
  queue_status pop_many(record_batch& out, borrowed_record& large_one, std::size_t most,
                        deadline until = deadline::max());

  /// As `pop`, but a large record stays in shared memory. @throws  as pop.
  queue_status borrow(borrowed_record& out, deadline until = deadline::max());

  /// As `borrow`, with a claim as in `pop`.
  queue_status borrow(borrowed_record& out, std::atomic<std::uint64_t>& claim, deadline until = deadline::max());

  /// As `pop`, on lease. @throws  as pop; std::bad_alloc also if 65,536 leases are active (fewer where max_bytes is
  /// below 64 MiB); std::system_error if no descriptor is left, or there is no /proc.
  queue_status pop(lease& out, deadline until = deadline::max());

  /// Records ever pushed: the ticket of the next one. Never decreases; exact at some instant of the call.
  [[nodiscard]] std::uint64_t pushed() const noexcept;
  [[nodiscard]] std::uint64_t popped() const noexcept;

  [[nodiscard]] std::size_t size() const noexcept;  ///< exact at some instant of the call
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool full() const noexcept;             ///< whether a push of an empty record would wait
  [[nodiscard]] std::size_t leased() const noexcept;    ///< records out on lease
  [[nodiscard]] std::size_t bytes() const noexcept;     ///< of all records in the queue, rounded up by some bytes each
  [[nodiscard]] std::size_t capacity() const noexcept;  ///< in records; 0: unbounded
  [[nodiscard]] std::size_t capacity_bytes() const noexcept;  ///< 0: unbounded

  /// No push succeeds from now on, in any process; pops drain what is there. Idempotent.
  /// @return ok, or timed_out, interrupted as in `push`: a process was stopped while it pushed.
  queue_status close(deadline until);
  void close();
  [[nodiscard]] bool closed() const noexcept;

  /// Takes all records that are there and throws them away. @return as close; `dropped` is how many.
  queue_status clear(std::size_t& dropped, deadline until = deadline::max());

  /// Counts a record as worked on, for wait_until_done. @return false if all that were pushed have been counted.
  bool task_done(std::size_t count = 1) noexcept;
  [[nodiscard]] std::uint64_t unfinished() const noexcept;  ///< records pushed and not counted as done
  /// Waits until every record ever pushed was counted as done. @return ok, timed_out or interrupted.
  queue_status wait_until_done(deadline until = deadline::max());

  /// A descriptor that polls readable (level-triggered) whenever the queue is not empty, or closed; it may also do so
  /// once for nothing. Only to be polled: its contents are the queue's. Valid as long as this handle.
  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] int native_handle();

  /// The same for producers: polls readable whenever the queue is not full, or closed.
  /// @throws std::logic_error  the queue has no bound, so it is never full.
  [[nodiscard]] int room_handle();

  /// What the first native_handle() does, in a call that does not wait for ever: from now on `descriptors().readiness`
  /// is kept.
  /// @return ok, or timed_out, interrupted as in `close`.
  queue_status start_polling(deadline until);
  queue_status start_polling_room(deadline until);  ///< the same for room_handle()

  /// What attach() needs; they stay this handle's. @throws std::system_error  no descriptor left.
  [[nodiscard]] queue_descriptors descriptors() const;

 private:
  explicit byte_queue(std::shared_ptr<queue_detail::handle> state) noexcept;
  std::shared_ptr<queue_detail::handle> handle_;
};

}  // namespace shoal
