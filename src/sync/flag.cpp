#include "sync/flag.hpp"

#include <limits>

namespace shoal::sync {

void flag::set() noexcept {
  auto& word = shared().word;
  // Written even if it is set already: whoever clears it afterwards must see all that was done before this call.
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  std::uint32_t next = 0;
  do {
    next = (seen & is_set_bit) != 0 ? seen : (seen | is_set_bit) + one_time;
  } while (!word.compare_exchange_weak(seen, next & ~asleep, std::memory_order_seq_cst));
  // Nothing else is touched any more: whoever has waited for this may have destroyed the event.
  if ((seen & asleep) != 0) {
    os::futex_wake(word, std::numeric_limits<int>::max());
  }
}

wait_result flag::wait_until(std::uint32_t generation, deadline until) {
  auto& word = shared().word;
  const auto is_over = [=](std::uint32_t seen) { return (seen & is_set_bit) != 0 || seen / one_time != generation; };
  const auto happened = [&] { return is_over(word.load(std::memory_order_seq_cst)); };
  while (!happened()) {
    const wait_result result = wait_on(
        word, happened, [&] { return set_asleep(word, asleep, is_over); }, spin_, until);
    if (result != wait_result::done) {
      return happened() ? wait_result::done : result;
    }
  }
  return wait_result::done;
}

}  // namespace shoal::sync
