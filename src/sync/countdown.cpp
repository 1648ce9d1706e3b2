#include "sync/countdown.hpp"

#include <limits>

namespace shoal::sync {

bool countdown::count_down(std::uint64_t by) noexcept {
  auto& word = state().word;
  std::uint64_t seen = word.load(std::memory_order_seq_cst);
  std::uint64_t next = 0;
  do {
    if (seen / one < by) {
      return false;
    }
    next = seen - by * one;
    if (next < one) {
      next = 0;
    }
  } while (!word.compare_exchange_weak(seen, next, std::memory_order_seq_cst));
  // Nothing else is touched any more: whoever has waited for the last one may have destroyed the latch.
  if (next == 0 && (seen & asleep) != 0) {
    os::futex_wake(os::low_half(word), std::numeric_limits<int>::max());
  }
  return true;
}

wait_result countdown::wait_until(deadline until) {
  auto& word = state().word;
  const auto is_over = [](std::uint64_t seen) { return seen < one; };
  while (!is_zero()) {
    const wait_result result = wait_on(
        os::low_half(word), [this] { return is_zero(); }, [&] { return set_asleep(word, asleep, is_over); }, spin_,
        until);
    if (result != wait_result::done) {
      return is_zero() ? wait_result::done : result;
    }
  }
  return wait_result::done;
}

}  // namespace shoal::sync
