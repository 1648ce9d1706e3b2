#include "sync/event.hpp"

#include <limits>

namespace shoal::sync {

void event::set() noexcept {
  // Written even if it is set already: whoever clears it afterwards must see all that was done before this call.
  std::uint32_t word = shared().word.load(std::memory_order_relaxed);
  std::uint32_t next = 0;
  do {
    next = (word & 1) != 0 ? word : word + 3;
  } while (!shared().word.compare_exchange_weak(word, next, std::memory_order_seq_cst));
  shared().was_set.notify(std::numeric_limits<int>::max());
}

wait_result event::wait_until(std::uint32_t generation, deadline until) {
  const auto happened = [&] { return is_set() || this->generation() != generation; };
  while (!happened()) {
    if (const wait_result result = wait_for(happened, shared().was_set, spin_, until); result != wait_result::done) {
      return happened() ? wait_result::done : result;
    }
  }
  return wait_result::done;
}

}  // namespace shoal::sync
