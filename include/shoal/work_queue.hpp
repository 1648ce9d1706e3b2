#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoal/byte_queue.hpp"
#include "shoal/deadline.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// A task that a worker has taken from a work_queue; a large one stays in shared memory until this object ends or takes
/// the next. Meant to be reused, as a `record`.
class taken_task {
 public:
  [[nodiscard]] std::uint64_t ticket() const noexcept { return ticket_; }
  [[nodiscard]] encoding tag() const noexcept { return record_.tag(); }
  [[nodiscard]] const_bytes bytes() const noexcept { return record_.bytes(); }

  /// What holds bytes(), to be kept for as long as they are used.
  [[nodiscard]] borrowed_record& record() noexcept { return record_; }

 private:
  friend class work_queue;
  borrowed_record record_;
  std::uint64_t ticket_ = 0;
};

/// What comes back from the workers of a work_queue.
struct outcome {
  enum class kind : std::uint16_t {
    finished,     ///< `tag`, `bytes` and `note` are what the worker in `slot` said of the task `ticket`
    called_off,   ///< nobody has begun the task `ticket`, and nobody will
    worker_lost,  ///< the worker in `slot` is dead, and everything it finished has been delivered; now call
                  ///< reclaim(slot)
  };

  kind what = kind::finished;
  std::uint16_t note = 0;
  std::uint32_t slot = 0;
  std::uint64_t ticket = 0;
  encoding tag = encoding::raw;
  const_bytes bytes;
};

/// Outcomes that came together. Meant to be reused, as a `record`.
class outcome_batch {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return outcomes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return outcomes_.empty(); }
  [[nodiscard]] const outcome& operator[](std::size_t index) const noexcept { return outcomes_[index]; }
  [[nodiscard]] auto begin() const noexcept { return outcomes_.begin(); }
  [[nodiscard]] auto end() const noexcept { return outcomes_.end(); }

  /// If the batch is one large outcome, this holds its bytes, to be kept for as long as they are used.
  [[nodiscard]] borrowed_record& large() noexcept { return large_; }

 private:
  friend class work_queue;
  record_batch small_;
  borrowed_record large_;
  std::vector<outcome> outcomes_;
};

/// What is known of a slot: of its present worker, and of the work of all that it has had.
struct slot_account {
  std::optional<std::uint64_t> running;           ///< the ticket of the task being run
  std::chrono::steady_clock::time_point since{};  ///< when it was begun, if its worker said so; else zero
  bool condemned = false;                         ///< it was called off: its worker is to be killed
  std::uint64_t finished = 0;                     ///< tasks
  std::chrono::nanoseconds idle{};                ///< time spent waiting for tasks, until now
  std::uint64_t bytes_in = 0;                     ///< of tasks taken
  std::uint64_t bytes_out = 0;                    ///< of outcomes sent
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
/// it. When a worker has ended, in whatever way, the owner calls lost(slot). next() says `worker_lost` once everything
/// the worker had finished was delivered, and reclaim(slot) then names the task that died with the worker, if there is
/// one, and frees the slot for a new worker.
///
/// Threads: all members may be called concurrently, but next() by one thread, and take() and finish() by one for each
/// slot. An outcome may come out of next() before submit() has returned its ticket. fork: the child shares it and may
/// be a worker, not the owner. exec: pass `descriptors()` and `attach`. Signals: as byte_queue. Kill-safety: at any
/// instruction of any worker; see docs/design/pool.md.
class work_queue {
 public:
  /// @throws std::invalid_argument  no slots, or more than 65536.
  /// @throws std::system_error      no descriptor, memory or address space left.
  explicit work_queue(std::size_t slot_count, const std::string& label = {});

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

  [[nodiscard]] std::size_t slot_count() const noexcept;
  [[nodiscard]] work_queue_descriptors descriptors() const;  ///< @throws std::system_error  no descriptor left

  // The owner.

  /// Appends a task made of `parts`, one behind the other. @return its ticket.
  /// @throws shoal::error    errc::closed.
  /// @throws std::bad_alloc  no memory for it; nothing was submitted.
  std::uint64_t submit(encoding tag, std::span<const const_bytes> parts);
  std::uint64_t submit(encoding tag, const_bytes bytes) { return submit(tag, {&bytes, 1}); }

  /// Appends tasks, whose tickets follow one another. Adds to `submitted` how many of them are in, however the call
  /// ends: it may be called again with the rest.
  /// @return ok; or timed_out, interrupted, busy as byte_queue::push: a worker was stopped where a lock is needed.
  /// @throws shoal::error    errc::closed.
  /// @throws std::bad_alloc  no memory for the next.
  queue_status submit_many(std::span<const outgoing_record> tasks, std::size_t& submitted,
                           deadline until = deadline::max());

  /// The ticket of the next task, while no thread is in submit or submit_many.
  [[nodiscard]] std::uint64_t next_ticket() const noexcept;

  /// Takes up to `most` outcomes that are there into `out`, waiting only for the first. Never says `closed`: workers
  /// may still have something to finish. May say `ok` and have none: what is said of a task that has an outcome
  /// already, as when a task has forked and both processes finish it, is left out.
  /// @throws std::bad_alloc  no memory for it in this process; it stays there.
  /// @throws shoal::error    errc::corrupt_record: the shared memory was overwritten, which is the end of this object.
  queue_status next(outcome_batch& out, std::size_t most, deadline until = deadline::max());

  /// Says that the worker in `slot` has ended; it must have. Call it once for each worker.
  /// @throws std::out_of_range  no such slot.
  /// @throws std::bad_alloc     no memory for the notice; call it again.
  void lost(std::size_t slot);

  /// After `worker_lost`: the ticket of the task the worker had taken and not finished, if any; nothing else will be
  /// heard of it. The slot is free then.
  std::optional<std::uint64_t> reclaim(std::size_t slot);

  /// What call_off found.
  enum class call_off_result {
    withdrawn,  ///< nobody will begin it, unless somebody has finished it already; either will come out of next()
    running,    ///< the worker in the slot told is at it, and will neither finish it nor do anything else: kill it now
    too_late,   ///< it has an outcome
    too_many,   ///< not withdrawn: one that is a multiple of a million tasks away is called off and has no outcome yet
  };
  struct called_off {
    call_off_result result;
    std::size_t slot = 0;
  };

  /// Calls off a task: nobody begins it from now on. Whoever is running it is condemned: it will stop in finish(), so
  /// that no other task dies if its process is killed then.
  called_off call_off(std::uint64_t ticket);

  /// The same, but leaves a worker alone that is running it: `running` means that it goes on.
  called_off withdraw(std::uint64_t ticket);

  /// No submit succeeds from now on; workers take what is there and are then told `closed`. Idempotent.
  void close();

  [[nodiscard]] std::size_t pending() const noexcept;  ///< tasks that no worker has taken yet
  [[nodiscard]] std::size_t outstanding()
      const noexcept;  ///< tasks without an outcome yet: those pending and those being run

  /// @throws std::out_of_range  no such slot.
  [[nodiscard]] slot_account account(std::size_t slot) const;

  // A worker.

  /// Takes the oldest task that was not called off into `out`. The task before it must be finished.
  /// @return closed: there are no more and there will be none.
  /// @throws std::out_of_range  no such slot.
  /// @throws std::bad_alloc     no memory for it in this process; the task stays for others.
  queue_status take(std::size_t slot, taken_task& out, deadline until = deadline::max());

  /// Tells the owner when the task taken last was begun: now.
  void tell_begin(std::size_t slot);

  /// Sends the outcome of the task taken last, made of `parts`, one behind the other, with a note of the caller's. If
  /// the task was called off it never returns: its owner is about to kill this process.
  /// @throws std::bad_alloc  no memory for it; nothing was sent. Send something shorter.
  void finish(std::size_t slot, std::uint64_t ticket, encoding tag, std::span<const const_bytes> parts,
              std::uint16_t note = 0);
  void finish(std::size_t slot, std::uint64_t ticket, encoding tag, const_bytes bytes, std::uint16_t note = 0) {
    finish(slot, ticket, tag, {&bytes, 1}, note);
  }

 private:
  class impl;
  explicit work_queue(std::unique_ptr<impl> state) noexcept;
  std::unique_ptr<impl> impl_;
};

}  // namespace shoal
