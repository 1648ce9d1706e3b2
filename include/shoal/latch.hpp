#pragma once

#include <cstddef>
#include <limits>
#include <memory>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/timeouts.hpp"

namespace shoal {

namespace sync {
class countdown;
}

/// A counter that goes down to zero and that processes wait for, once, with the interface of `std::latch`.
///
/// A process that is killed before it has counted down is waited for in vain, since nobody can know that it would have:
/// where that may be, wait with a time limit.
///
/// Threads: all members may be called concurrently. fork: the child shares it. Other processes: construct one from
/// native_handle(). Kill-safety: at any instruction. Moved from, it can only be assigned to or destroyed.
class latch {
 public:
  using native_handle_type = slot_location;

  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return std::numeric_limits<std::ptrdiff_t>::max(); }

  /// @throws std::invalid_argument              `expected` is negative.
  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit latch(std::ptrdiff_t expected);
  /// @throws shoal::error       there is no latch there. @throws std::system_error  the descriptor is not open.
  explicit latch(native_handle_type handle);
  latch(latch&&) noexcept;
  latch& operator=(latch&&) noexcept;
  ~latch();

  /// @throws std::invalid_argument  `by` is negative, or above what is left.
  void count_down(std::ptrdiff_t by = 1);
  /// Whether the counter is zero; never spuriously false.
  [[nodiscard]] bool try_wait() const noexcept;
  /// Waits until the counter is zero. Interrupted by no signal.
  void wait() const;
  /// @return false if it was not zero until then.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration>& until) const {
    return detail::attempt_until(until, [this](deadline limit) { return wait_until(limit); });
  }
  [[nodiscard]] bool wait_until(deadline until) const;
  /// count_down(by), then wait(). @throws  as count_down().
  void arrive_and_wait(std::ptrdiff_t by = 1);

  /// For another process. Afterwards the memory of this latch is not used for another one.
  [[nodiscard]] native_handle_type native_handle() noexcept;

 private:
  std::unique_ptr<sync::countdown> countdown_;
};

}  // namespace shoal
