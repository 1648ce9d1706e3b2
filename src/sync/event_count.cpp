#include "sync/event_count.hpp"

#include <algorithm>
#include <limits>

namespace shoal::sync {

bool event_count::wait(std::uint32_t key, deadline until) const noexcept {
  const deadline next_tick = std::chrono::steady_clock::now() + tick;
  switch (os::futex_wait(word_, key, std::min(until, next_tick))) {
    case os::futex_result::woken:
    case os::futex_result::changed:
    case os::futex_result::second_woken:
      return true;
    case os::futex_result::timed_out:
    case os::futex_result::interrupted:
      return false;
  }
  return false;
}

void event_count::wake(int count) noexcept {
  // The bit stays while sleepers may be left: another changer must not take a cleared bit for an empty room.
  word_.fetch_add(one_epoch, std::memory_order_seq_cst);
  if (os::futex_wake(word_, count) >= count) {
    return;
  }
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  while ((seen & asleep) != 0 &&
         !word_.compare_exchange_weak(seen, (seen & ~asleep) + one_epoch, std::memory_order_seq_cst)) {
  }
  // For whoever fell asleep after the first wake: its bit has just been cleared.
  os::futex_wake(word_, std::numeric_limits<int>::max());
}

}  // namespace shoal::sync
