#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "sync/cpu.hpp"

namespace shoal::queue {

/// Keeps two processes out of lockstep.
///
/// A consumer as fast as its producer finds one new record at each look, and each look takes the producer's cache line,
/// which the producer then fetches back: both crawl at the speed at which lines travel. Where a look finds little, the
/// consumer lets the producer get ahead for a few microseconds and looks again; then many records cost one look. (And
/// so does a producer that finds little room.) Where this brings nothing, as between two that answer each other, it is
/// tried ever more seldom.
///
/// Local to a process. Threads: may be shared; the estimate is then shared as well.
class batching {
 public:
  /// @param seen  what a first look found. @return what the last look found.
  template <class Look>
  std::uint64_t operator()(std::uint64_t seen, Look look) {
    if (seen >= enough) {
      return seen;
    }
    if (const std::uint32_t skips = skips_.load(std::memory_order_relaxed); skips > 0) {
      skips_.store(skips - 1, std::memory_order_relaxed);
      return seen;
    }
    sync::pause_for(pauses);
    const std::uint64_t seen_now = look();
    if (seen_now - seen >= gain) {
      next_skips_.store(1, std::memory_order_relaxed);
    } else {
      const std::uint32_t skips = next_skips_.load(std::memory_order_relaxed);
      skips_.store(skips, std::memory_order_relaxed);
      next_skips_.store(std::min(2 * skips, most_skips), std::memory_order_relaxed);
    }
    return seen_now;
  }

 private:
  static constexpr std::uint64_t enough = 8;  // records for one look
  static constexpr std::uint64_t gain = 3;
  static constexpr int pauses = 256;  // some 3 us
  static constexpr std::uint32_t most_skips = 256;

  std::atomic<std::uint32_t> skips_{0};       // looks not to improve
  std::atomic<std::uint32_t> next_skips_{1};  // skips_ after the next time that waiting brings nothing
};

}  // namespace shoal::queue
