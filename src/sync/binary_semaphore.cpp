#include "sync/binary_semaphore.hpp"

namespace shoal::sync {

bool binary_semaphore::try_acquire() noexcept {
  std::uint32_t free = 0;
  return shared().taken.compare_exchange_strong(free, 1, std::memory_order_seq_cst);
}

wait_result binary_semaphore::acquire_until(deadline until) {
  const auto free = [this] { return is_free(); };
  while (!try_acquire()) {
    if (const wait_result result = wait_for(free, shared().released, spin_, until); result != wait_result::done) {
      return result;
    }
  }
  return wait_result::done;
}

bool binary_semaphore::release() noexcept {
  std::uint32_t taken = 1;
  if (!shared().taken.compare_exchange_strong(taken, 0, std::memory_order_seq_cst)) {
    return false;
  }
  shared().released.notify(1);
  return true;
}

bool binary_semaphore::is_free() const noexcept { return shared().taken.load(std::memory_order_seq_cst) == 0; }

}  // namespace shoal::sync
