#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/spin.hpp"
#include "sync/thread_record.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// What a condition variable has in shared memory. Who waits is in the threads' records.
struct wait_line_state {
  std::atomic<std::uint64_t> tickets;  // how many have ever come
  std::atomic<std::uint32_t> waiters;  // at least as many as wait: a killed one stays counted
};

/// The line before a condition variable: threads wait in it, first come first served, until they are notified.
///
/// Each waiter is notified in an entry of its own record, so that a notification is for one living thread and for no
/// other; one that was for a thread which died before it could go on is passed on, by others who wait here, within a
/// second, or by whoever notifies next. Then, and only then, may somebody be notified twice.
///
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class wait_line {
 public:
  wait_line() : slot_(memory::arena_slot::allocate(memory::slot_kind::condition_variable)) {}
  explicit wait_line(slot_location location)
      : slot_(memory::arena_slot::attach(location, memory::slot_kind::condition_variable)) {}

  /// A place in line. Leaves it when it ends: end it with the user's lock held again, so that whoever dies before that
  /// has not used up a notification. One that wait_until() has not told of is passed on.
  class place {
   public:
    /// @throws std::bad_alloc     no memory to know this thread.
    /// @throws std::system_error  this thread waits for four things already, in signal handlers.
    explicit place(wait_line& line);
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place();

    /// @return `done` once notified. After `timed_out`, call it no more.
    wait_result wait_until(deadline until);

   private:
    wait_line& line_;
    wait_entry& entry_;
    std::uint64_t made_in_;  // the generation of processes: in a forked child the place is its parent's
    deadline next_look_;     // for the dead; signals may interrupt each wait before a second is over
    bool told_ = false;
  };

  /// Notifies up to `count` of those who wait. @return how many.
  std::uint32_t notify(std::uint32_t count) noexcept;

  /// How many living threads wait and were not notified.
  [[nodiscard]] std::uint32_t size() const noexcept;

  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

 private:
  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
