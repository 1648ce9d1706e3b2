#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/barrier_base.hpp"

namespace shoal {

/// What a barrier does at the end of each phase if nothing else is asked for.
struct no_completion {
  void operator()() const noexcept {}
};

/// A barrier shared by processes, that survives the death of those who wait; arrive_and_wait() and
/// arrive_and_drop() are as those of `std::barrier`.
///
/// A thread that dies while it waits breaks the barrier within a second: all who wait, and all who come, get an error
/// of code `errc::broken_barrier`, until somebody calls reset(). A thread that dies elsewhere is not known to be
/// expected here: where that may be, wait with a time limit.
///
/// At the end of a phase the last to arrive calls the completion, which is that of its own object: each process has its
/// own. If that throws, the barrier is broken.
///
/// Threads: all members may be called concurrently. fork: the child shares it. Other processes: construct one from
/// native_handle(). Kill-safety: at any instruction. Destroy it when all calls have
/// returned. Moved from, it can only be assigned to or destroyed.
template <class Completion = no_completion>
class barrier : private detail::barrier_base {
  static_assert(std::is_invocable_v<Completion&>, "the completion of a barrier is called without arguments");

 public:
  using native_handle_type = slot_location;

  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return most_parties; }

  /// `expected` threads take part in each phase.
  /// @throws std::invalid_argument              expected is below 1 or above max().
  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit barrier(std::ptrdiff_t expected, Completion completion = Completion())
      : barrier_base(expected), completion_(std::move(completion)) {}
  /// @throws shoal::error       there is no barrier there. @throws std::system_error  the descriptor is not open.
  explicit barrier(native_handle_type handle, Completion completion = Completion())
      : barrier_base(handle), completion_(std::move(completion)) {}

  /// Waits until all have arrived. Interrupted by no signal.
  /// @throws shoal::error    errc::broken_barrier: it is broken, or was reset.
  /// @throws std::bad_alloc  at a thread's first wait: no memory. @throws  what the completion throws.
  void arrive_and_wait() { (void)arrive_until(deadline::max()); }

  /// As arrive_and_wait. If not all have arrived until then it breaks the barrier, since it cannot be there and not be
  /// there, and returns false.
  template <class Rep, class Period>
  [[nodiscard]] bool arrive_and_wait_for(const std::chrono::duration<Rep, Period>& timeout) {
    return arrive_until(after(timeout));
  }

  /// Arrives for the last time: the others go on without this thread from now on. @throws  as arrive_and_wait.
  void arrive_and_drop() {
    party mine(*this);
    mine.arrive_and_drop(deadline::max());
    if (mine.is_last()) {
      complete(mine);
    }
  }

  /// Breaks it: all who wait or come get errc::broken_barrier.
  using barrier_base::abort;
  [[nodiscard]] bool is_broken() const noexcept { return barrier_base::is_broken(); }
  /// Makes it as new. Those who wait get errc::broken_barrier.
  using barrier_base::reset;
  /// For another process. Afterwards the memory of this barrier is not used for another one.
  using barrier_base::native_handle;

 private:
  bool arrive_until(deadline until) {
    party mine(*this);
    if (!mine.arrive(until)) {
      return false;
    }
    if (!mine.is_last()) {
      return mine.wait(until);
    }
    complete(mine);
    return true;
  }

  void complete(party& last) {
    try {
      completion_();
    } catch (...) {
      last.give_up();
      throw;
    }
    last.complete();
  }

  [[no_unique_address]] Completion completion_;
};

}  // namespace shoal
