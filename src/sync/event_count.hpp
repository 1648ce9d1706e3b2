#pragma once

#include <cstdint>

#include "os/futex.hpp"

namespace shoal::sync {

/// Lets processes sleep until a condition in shared memory may have changed, at no cost to the changer while nobody
/// sleeps.
///
/// An eventcount (Reed & Kanodia, "Synchronization with Eventcounts and Sequencers", CACM 1979): the word is an epoch
/// and one bit that says somebody may be asleep. A sleeper sets the bit, checks its condition again and sleeps on the
/// word; a changer makes its change and then, if the bit is set, begins a new epoch, wakes, and clears the bit once
/// nobody is left. Both do so sequentially consistently, so either the changer sees the bit or the sleeper sees the
/// change.
///
/// Kill-safety: a killed sleeper leaves a bit that costs one futile wake. A changer killed between its change and the
/// wake leaves sleepers asleep, which is why wait() returns after `tick` at the latest. Lives in zeroed shared memory.
class event_count {
 public:
  /// The longest anybody sleeps over a change whose maker was killed before it could wake.
  static constexpr std::chrono::seconds tick{1};

  /// Announces a sleeper. Check the condition after this and before wait(), with sequentially consistent loads.
  [[nodiscard]] std::uint32_t prepare_wait() noexcept {
    return word_.fetch_or(asleep, std::memory_order_seq_cst) | asleep;
  }

  /// Sleeps until notified, for `tick` at most and not past `until`. Spurious returns are allowed.
  /// @return false if a signal handler ran or the tick has passed: the moment to look at the world outside.
  bool wait(std::uint32_t key, deadline until) const noexcept;

  /// Wakes up to `count` sleepers; call it after a sequentially consistent store of the change.
  void notify(int count) noexcept {
    if ((word_.load(std::memory_order_seq_cst) & asleep) != 0) {
      wake(count);
    }
  }

  [[nodiscard]] bool has_sleepers() const noexcept { return (word_.load(std::memory_order_relaxed) & asleep) != 0; }

 private:
  static constexpr std::uint32_t asleep = 1;
  static constexpr std::uint32_t one_epoch = 2;

  void wake(int count) noexcept;

  os::futex_word word_;
};

}  // namespace shoal::sync
