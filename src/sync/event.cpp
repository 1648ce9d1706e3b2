#include "sync/event.hpp"

#include <limits>

namespace shoal::sync {

void event::set() noexcept {
  std::uint32_t word = shared().word.load(std::memory_order_relaxed);
  do {
    if ((word & 1) != 0) {
      // Whoever set it may have been killed before waking; waking again costs a load.
      break;
    }
  } while (!shared().word.compare_exchange_weak(word, word + 3, std::memory_order_seq_cst));
  shared().was_set.notify(std::numeric_limits<int>::max());
}

wait_result event::wait_until(std::uint32_t generation, deadline until) {
  const auto happened = [&] { return is_set() || this->generation() != generation; };
  while (!happened()) {
    if (const wait_result result = wait_for(happened, shared().was_set, spin_, until);
        result != wait_result::done) {
      return happened() ? wait_result::done : result;
    }
  }
  return wait_result::done;
}

}  // namespace shoal::sync
