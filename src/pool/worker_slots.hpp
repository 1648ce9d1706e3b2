#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "memory/segment.hpp"

namespace shoal {

/// What the worker in a slot is at, and what the workers it has had have done. Written by the worker, but for
/// `called_off` in `running`, and read by the owner. A line of its own, as it is written at every task.
struct alignas(64) worker_slot {
  using word = std::atomic<std::uint64_t>;
  static_assert(word::is_always_lock_free);

  /// In `running`: the owner has called the task off. If that was not `tentative` any more, it kills the worker.
  static constexpr std::uint64_t called_off = std::uint64_t{1} << 63;
  /// In `running`: the worker is about to begin the task, if it can change the word to one without this.
  static constexpr std::uint64_t tentative = std::uint64_t{1} << 62;

  /// What was taken last, as ticket plus one; 0: nothing. byte_queue::borrow writes it just before the removal becomes
  /// real, so after a worker's death its claim is *valid*, that is, the task is gone from the queue, only if as many
  /// tasks were popped as it says. Otherwise the worker died in between.
  word claim;

  word running;                     // what is being run, as ticket plus one; 0: nothing
  std::atomic<std::int64_t> since;  // when that began, in steady nanoseconds; 0: not told
  std::atomic<std::int64_t> idle;   // nanoseconds spent waiting for tasks; negative while it waits, see idle_time
  word finished;                    // tasks
  word bytes_in;                    // of tasks
  word bytes_out;                   // of their outcomes
};

/// The worker slots of a work queue, and the tickets that were called off, in shared memory.
class worker_slots {
 public:
  /// Of tickets that are as far apart, one can be called off at a time.
  static constexpr std::uint64_t period = 1 << 20;

  static worker_slots create(std::size_t slots, const std::string& label);
  static worker_slots attach(int descriptor);

  [[nodiscard]] std::size_t count() const noexcept { return slots_; }
  [[nodiscard]] int descriptor() const noexcept { return segment_.descriptor(); }

  /// @throws std::out_of_range  no such slot.
  [[nodiscard]] worker_slot& operator[](std::size_t slot) const;

  // Of tickets that were called off; by one thread at a time, but for the question.

  /// @return false if another one that is some periods away is called off.
  [[nodiscard]] bool call_off(std::uint64_t ticket) const noexcept;
  /// The ticket must be called off.
  void forget(std::uint64_t ticket) const noexcept;
  [[nodiscard]] bool is_called_off(std::uint64_t ticket) const noexcept;

 private:
  worker_slots(memory::segment segment, std::size_t slots) : segment_(std::move(segment)), slots_(slots) {}

  [[nodiscard]] worker_slot::word& called_off_in_all() const noexcept;
  // Of the period in which a ticket with this place is called off; 0: none is. No more than 2^36 tickets can be without
  // an outcome, so it is told from all others.
  using mark = std::atomic<std::uint16_t>;
  static_assert(mark::is_always_lock_free);
  static mark::value_type mark_of(std::uint64_t ticket) noexcept {
    return static_cast<mark::value_type>(ticket / period % 0xffff + 1);
  }
  [[nodiscard]] mark& mark_at(std::uint64_t ticket) const noexcept;

  memory::segment segment_;
  std::size_t slots_;
};

}  // namespace shoal
