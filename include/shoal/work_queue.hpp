#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "shoal/byte_queue.hpp"
#include "shoal/deadline.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// A task that a worker has taken from a work_queue. Meant to be reused, as a `record`.
class task {
 public:
  [[nodiscard]] std::uint64_t ticket() const noexcept { return ticket_; }
  [[nodiscard]] encoding tag() const noexcept { return record_.tag(); }
  [[nodiscard]] const_bytes bytes() const noexcept { return record_.bytes(); }

 private:
  friend class work_queue;
  record record_;
  std::uint64_t ticket_ = 0;
};

/// What comes back from the workers of a work_queue. Meant to be reused, as a `record`.
class outcome {
 public:
  enum class kind : std::uint32_t {
    finished,     ///< ticket(), tag() and bytes() are what the worker in slot() said
    worker_lost,  ///< the worker in slot() is dead, and everything it finished has been delivered; now call
                  ///< reclaim(slot())
  };

  [[nodiscard]] kind what() const noexcept { return kind_; }
  [[nodiscard]] std::uint64_t ticket() const noexcept { return ticket_; }
  [[nodiscard]] std::size_t slot() const noexcept { return slot_; }
  [[nodiscard]] encoding tag() const noexcept { return record_.tag(); }
  [[nodiscard]] const_bytes bytes() const noexcept;

 private:
  friend class work_queue;
  record record_;
  kind kind_ = kind::finished;
  std::uint64_t ticket_ = 0;
  std::size_t slot_ = 0;
};

/// The descriptors by which a worker that is not a fork of the owner reaches a work_queue.
struct work_queue_descriptors {
  queue_descriptors tasks;
  queue_descriptors results;
  int claims = -1;  ///< the shared memory that says who has taken what
};

/// Hands tasks out to worker processes and outcomes back to one owner: for every task exactly one outcome, at whatever
/// instruction a worker is killed. The heart of pools; it starts, watches and ends no process itself.
///
/// The owner is the process that made it. It submits tasks, each of which gets a ticket (0, 1, 2, ...), and receives
/// outcomes with next(). A worker occupies a slot, where it takes one task at a time, whichever is oldest, and finishes
/// it. When a worker has ended, in whatever way, the owner calls lost(slot). Next() says `worker_lost` once everything
/// the worker had finished was delivered, and reclaim(slot) then names the task that died with the worker, if there is
/// one, and frees the slot for a new worker.
///
/// Threads: all members may be called concurrently, but next() and reclaim() by one thread, and take() and finish() by
/// one for each slot. An outcome may come out of next() before submit() has returned its ticket. fork: the child shares
/// it and may be a worker, not the owner. exec: pass `descriptors()` and `attach`. Signals: as byte_queue. Kill-safety:
/// at any instruction of any worker; see docs/design/pool.md.
class work_queue {
 public:
  /// @throws std::invalid_argument  no slots, or more than 65536.
  /// @throws std::system_error      no descriptor, memory or address space left.
  explicit work_queue(std::size_t slots, const std::string& label = {});

  /// For a worker: joins the work_queue behind descriptors that were inherited or received; they are duplicated, not
  /// consumed.
  /// @throws shoal::error       not such descriptors (says what was found).
  /// @throws std::system_error  a descriptor is not open; no memory.
  static work_queue attach(const work_queue_descriptors& descriptors);

  work_queue(work_queue&&) noexcept;
  work_queue& operator=(work_queue&&) noexcept;
  work_queue(const work_queue&) = delete;
  work_queue& operator=(const work_queue&) = delete;
  ~work_queue();

  [[nodiscard]] std::size_t slots() const noexcept;
  [[nodiscard]] work_queue_descriptors descriptors() const;  ///< @throws std::system_error  no descriptor left

  // The owner.

  /// Appends a task made of `parts`, one behind the other. @return its ticket.
  /// @throws shoal::error    errc::closed.
  /// @throws std::bad_alloc  no memory for it; nothing was submitted.
  std::uint64_t submit(encoding tag, std::span<const const_bytes> parts);
  std::uint64_t submit(encoding tag, const_bytes bytes) { return submit(tag, {&bytes, 1}); }

  /// Takes the next outcome into `out`. Never says `closed`: workers may still have something to finish.
  /// @throws std::bad_alloc  no memory for it in this process; it stays there.
  /// @throws shoal::error    errc::corrupt_record: the shared memory was overwritten, which is the end of this object.
  queue_status next(outcome& out, deadline until = forever);

  /// Says that the worker in `slot` has ended; it must have. Call it once for each worker.
  /// @throws std::out_of_range  no such slot.
  /// @throws std::bad_alloc     no memory for the notice; call it again.
  void lost(std::size_t slot);

  /// After `worker_lost`: the ticket of the task the worker had taken and not finished, if any; nothing else will be
  /// heard of it. The slot is free then.
  std::optional<std::uint64_t> reclaim(std::size_t slot);

  /// No submit succeeds from now on; workers take what is there and are then told `closed`. Idempotent.
  void close();

  [[nodiscard]] std::size_t pending() const noexcept;  ///< tasks that no worker has taken yet
  [[nodiscard]] std::size_t outstanding()
      const noexcept;  ///< tasks without an outcome yet: those pending and those being run

  // A worker.

  /// Takes the oldest task into `out`. The task before it must be finished.
  /// @return closed: there are no more and there will be none.
  /// @throws std::out_of_range  no such slot.
  /// @throws std::bad_alloc     no memory for it in this process; the task stays for others.
  queue_status take(std::size_t slot, task& out, deadline until = forever);

  /// Sends the outcome of the task taken last, made of `parts`, one behind the other.
  /// @throws std::bad_alloc  no memory for it; nothing was sent. Send something shorter.
  void finish(std::size_t slot, std::uint64_t ticket, encoding tag, std::span<const const_bytes> parts);
  void finish(std::size_t slot, std::uint64_t ticket, encoding tag, const_bytes bytes) {
    finish(slot, ticket, tag, {&bytes, 1});
  }

 private:
  class impl;
  explicit work_queue(std::unique_ptr<impl> state) noexcept;
  std::unique_ptr<impl> impl_;
};

}  // namespace shoal
