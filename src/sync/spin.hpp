#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "shoal/deadline.hpp"
#include "sync/cpu.hpp"

namespace shoal::sync {

/// Decides how long to spin before sleeping, from how long earlier waits took.
///
/// A sleep and its wake-up cost some 50 us together, so a wait that spins as long as that is never more than twice as
/// dear as the better choice (Karlin et al., "Competitive randomized algorithms for nonuniform problems", 1990).
/// Spinning is given up by halves while waits turn out long, and taken up again at the first short one. After a moment,
/// or at once where the process has one processor only, the spinner yields at each turn, since the one it waits for may
/// be queued for this very processor.
///
/// Local to a process. Threads: may be shared; the estimate is then shared as well.
class adaptive_spin {
 public:
  /// Spins until `condition()`, or until it does not pay any more. @return whether the condition came true.
  template <class Condition>
  bool operator()(Condition condition, deadline until) {
    if (has_several_cpus()) {
      // At growing intervals: each look takes a cache line away from the one who is about to make the condition true.
      for (int interval = 1; interval <= longest_interval; interval *= 2) {
        if (condition()) {
          return true;
        }
        pause_for(interval);
      }
    }
    const auto budget = std::chrono::nanoseconds(budget_.load(std::memory_order_relaxed));
    const deadline stop = std::min(until, std::chrono::steady_clock::now() + budget);
    while (std::chrono::steady_clock::now() < stop) {
      if (condition()) {
        return true;
      }
      ::sched_yield();
    }
    return false;
  }

  /// Learns from a wait that took so long altogether.
  void waited(std::chrono::nanoseconds duration) noexcept {
    const std::int64_t budget = budget_.load(std::memory_order_relaxed);
    budget_.store(duration.count() < most ? most : budget / 2, std::memory_order_relaxed);
  }

 private:
  static constexpr int longest_interval = 64;   // pauses; all intervals together take about 1.5 us
  static constexpr std::int64_t most = 50'000;  // ns; what a sleep and a wake-up cost

  std::atomic<std::int64_t> budget_{most};
};

}  // namespace shoal::sync
