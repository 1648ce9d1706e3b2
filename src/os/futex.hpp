#pragma once

#include <atomic>
#include <cstdint>

#include "shoal/deadline.hpp"

namespace shoal::os {

/// A futex word in shared memory (process-shared operations; std::atomic::wait is process-private in libstdc++).
using futex_word = std::atomic<std::uint32_t>;
static_assert(futex_word::is_always_lock_free && sizeof(futex_word) == 4);

enum class futex_result {
  woken,    ///< woken, or for no reason
  changed,  ///< the word was not `expected`
  timed_out,
  interrupted,  ///< a signal handler ran
};

/// Sleeps while the word is `expected`, until woken or `until` (monotonic clock). See futex(2), FUTEX_WAIT_BITSET.
futex_result futex_wait(const futex_word& word, std::uint32_t expected, deadline until) noexcept;

/// Wakes up to `count` sleepers and returns how many it woke. Touches no memory: the word may be gone.
int futex_wake(const futex_word& word, int count) noexcept;

}  // namespace shoal::os
