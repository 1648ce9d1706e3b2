#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "shoal/deadline.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// How a call on a queue ended.
enum class queue_status {
  ok,
  timed_out,    ///< nothing happened before the deadline: the queue was full, or empty
  closed,       ///< closed to new records (push), or closed and drained (pop)
  interrupted,  ///< a signal was handled, or may have been, while waiting; nothing happened. Call again to go on
                ///< waiting.
  busy,  ///< only with no_waiting: another process is at work at this end, or was stopped there; nothing happened
};

/// The two descriptors by which a process that is not a fork of the creator reaches a queue.
struct queue_descriptors {
  int segment = -1;    ///< the shared memory
  int readiness = -1;  ///< the eventfd that polls readable while the queue is not empty
};

struct queue_options {
  std::size_t capacity = 0;   ///< the most records it may hold; 0: no bound but memory
  std::string label{};        ///< seen in /proc/PID/fd as memfd:shoal:queue:LABEL
  std::size_t max_bytes = 0;  ///< the most shared memory it may grow to; 0: as much as the machine has
};

/// A first-in first-out queue of byte records between processes, for any number of producers and consumers.
///
/// A handle: the queue itself lives in a memfd and ends with the last handle or descriptor, in whatever process.
/// Records are whole or absent, and leave in the order in which they were committed.
///
/// Threads: all members but the destructor may be called concurrently. fork: the child shares the queue. exec: pass
/// `descriptors()` and `attach`. Signals: a wait returns `interrupted`; see `queue<T>` for calls that go on by
/// themselves. Kill-safety: at any instruction, in any process; a record of a killed producer is whole or absent, that
/// of a killed consumer taken or still there. See docs/design/queue.md.
class byte_queue {
 public:
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
  queue_status push(encoding tag, std::span<const const_bytes> parts, deadline until = forever);
  queue_status push(encoding tag, const_bytes bytes, deadline until = forever) { return push(tag, {&bytes, 1}, until); }

  /// Takes the oldest record into `out`, waiting while the queue is empty.
  /// @throws std::bad_alloc  no memory for it in this process; the record stays in the queue.
  /// @throws shoal::error    errc::corrupt_record: the segment was overwritten; the queue is of no further use.
  queue_status pop(record& out, deadline until = forever);

  /// As `pop`, and stores the record's ticket (see `pushed()`) plus one in `claim`, a word in shared memory, before the
  /// removal becomes real. So whoever reads `claim` after the death of the taker knows what it took: if `popped()` is
  /// at least the claim, the record with that ticket is gone from the queue; otherwise it is still there.
  queue_status pop(record& out, std::atomic<std::uint64_t>& claim, deadline until = forever);

  /// Records ever pushed: the ticket of the next one. Never decreases; exact at some instant of the call.
  [[nodiscard]] std::uint64_t pushed() const noexcept;
  [[nodiscard]] std::uint64_t popped() const noexcept;

  [[nodiscard]] std::size_t size() const noexcept;  ///< exact at some instant of the call
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept;  ///< 0: unbounded

  /// No push succeeds from now on, in any process; pops drain what is there. Idempotent.
  /// @return ok, or timed_out, interrupted as in `push`: a process was stopped while it pushed.
  queue_status close(deadline until);
  void close();
  [[nodiscard]] bool closed() const noexcept;

  /// A descriptor that polls readable (level-triggered) whenever the queue is not empty, or closed; it may also do so
  /// once for nothing. Only to be polled: its contents are the queue's. Valid as long as this handle.
  [[nodiscard]] int native_handle();

  /// What the first native_handle() does, in a call that does not wait for ever: from now on `descriptors().readiness`
  /// is kept.
  /// @return ok, or timed_out, interrupted as in `close`.
  queue_status start_polling(deadline until);

  [[nodiscard]] queue_descriptors descriptors() const noexcept;

 private:
  class impl;
  explicit byte_queue(std::unique_ptr<impl> state) noexcept;
  std::unique_ptr<impl> impl_;
};

}  // namespace shoal
