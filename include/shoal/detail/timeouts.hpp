#pragma once

#include <chrono>
#include <type_traits>

#include "shoal/deadline.hpp"

namespace shoal::detail {

/// The deadline that is `until` of any clock, as that shows now.
template <class Clock, class Duration>
deadline deadline_of(const std::chrono::time_point<Clock, Duration>& until) {
  if constexpr (std::is_same_v<std::chrono::time_point<Clock, Duration>, deadline>) {
    return until;
  } else {
    // The difference in floating point first: in integers it, and even comparing the two, would overflow where one is
    // far away, or the clock is one that is below zero now.
    using seconds = std::chrono::duration<double>;
    const auto now = Clock::now();
    const seconds left = seconds(until.time_since_epoch()) - seconds(now.time_since_epoch());
    if (left > std::chrono::hours(24 * 365 * 100)) {
      return deadline::max();
    }
    if (left < -std::chrono::hours(1)) {
      return no_waiting;
    }
    return until <= now ? no_waiting : after(until - now);
  }
}

/// Calls attempt(deadline), which returns false if that has passed first, until `until` on any clock. A clock that can
/// be set is looked at again when the time that was left has passed.
template <class Clock, class Duration, class Attempt>
bool attempt_until(const std::chrono::time_point<Clock, Duration>& until, Attempt attempt) {
  for (;;) {
    if (attempt(deadline_of(until))) {
      return true;
    }
    if (std::is_same_v<Clock, std::chrono::steady_clock> || deadline_of(until) == no_waiting) {
      return false;
    }
  }
}

}  // namespace shoal::detail
