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
/// A sleep and its wake-up cost some 50 us together, so a wait that spins as long as that is never more than twice as dear as the
/// better choice (Karlin et al., "Competitive randomized algorithms for nonuniform problems", 1990). Spinning is given up by
/// halves while waits turn out long, and taken up again at the first short one. After a moment the spinner yields at each
/// turn, since the one it waits for may be queued for this very processor.
///
/// A condition that has just come true may be worth waiting on for a moment longer: two processes in lockstep, each waiting
/// for the other's next item, pass cache lines to and fro for each one, and run several times faster in batches. Where
/// lingering brings nothing, it is tried ever more seldom.
///
/// Local to a process. Threads: may be shared; the estimates are then shared as well.
class adaptive_spin {
 public:
  /// Spins until `condition()`, or until it does not pay any more; lingers a moment for `worthwhile()`, which implies it.
  /// @return whether the condition came true.
  template <class Condition, class Worthwhile>
  bool operator()(Condition condition, Worthwhile worthwhile, deadline until) {
    if (!has_several_cpus()) {
      return false;
    }
    // At growing intervals: each look takes a cache line away from the one who is about to make the condition true.
    for (int interval = 1; interval <= longest_interval; interval *= 2) {
      if (condition()) {
        linger(worthwhile);
        return true;
      }
      pause_for(interval);
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
  static constexpr int longest_interval = 64;   // pauses; all intervals together take 3 to 5 us
  static constexpr std::int64_t most = 50'000;  // ns; what a sleep and a wake-up cost
  static constexpr int linger_looks = 4;
  static constexpr int linger_interval = 10;  // pauses; all looks together take about 1 us
  static constexpr std::uint32_t most_skips = 63;

  static void pause_for(int count) {
    for (int i = 0; i < count; ++i) {
      pause();
    }
  }

  template <class Worthwhile>
  void linger(Worthwhile worthwhile) {
    if (const std::uint32_t skips = skips_.load(std::memory_order_relaxed); skips > 0) {
      skips_.store(skips - 1, std::memory_order_relaxed);
      return;
    }
    for (int look = 0; look < linger_looks; ++look) {
      if (worthwhile()) {
        next_skips_.store(0, std::memory_order_relaxed);
        return;
      }
      pause_for(linger_interval);
    }
    const std::uint32_t skips = next_skips_.load(std::memory_order_relaxed);
    skips_.store(skips, std::memory_order_relaxed);
    next_skips_.store(std::min(2 * skips + 1, most_skips), std::memory_order_relaxed);
  }

  std::atomic<std::int64_t> budget_{most};
  std::atomic<std::uint32_t> skips_{0};       // waits not to linger in
  std::atomic<std::uint32_t> next_skips_{0};  // skips_ after the next time that lingering brings nothing
};

}  // namespace shoal::sync
