#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "shoal/deadline.hpp"

namespace shoal::os {

/// A futex word in shared memory (process-shared operations; std::atomic::wait is process-private in libstdc++).
using futex_word = std::atomic<std::uint32_t>;
static_assert(futex_word::is_always_lock_free && sizeof(futex_word) == 4);

/// The half of a larger word that somebody can sleep on: the low one.
inline const futex_word& low_half(const std::atomic<std::uint64_t>& word) noexcept {
  static_assert(std::endian::native == std::endian::little, "the low half is taken to come first");
  return reinterpret_cast<const futex_word&>(word);
}

enum class futex_result {
  woken,    ///< woken, or for no reason
  changed,  ///< the word was not `expected`
  timed_out,
  interrupted,   ///< a signal handler ran
  second_woken,  ///< only from futex_wait_either: the second of the two words was woken
};

/// Sleeps while the word is `expected`, until woken or `until` (monotonic clock). See futex(2), FUTEX_WAIT_BITSET.
futex_result futex_wait(const futex_word& word, std::uint32_t expected, deadline until) noexcept;

/// A word, and what it has to be for somebody to sleep on it.
struct futex_expectation {
  const futex_word* word;
  std::uint32_t expected;
};

/// Sleeps while both words are as expected, until one of them is woken or `until`. Where the system does not have
/// futex_waitv(2), which came with Linux 5.16, only on the first. If both are woken it says so of the second.
futex_result futex_wait_either(futex_expectation first, futex_expectation second, deadline until) noexcept;

/// Wakes up to `count` sleepers and returns how many it woke. Touches no memory: the word may be gone.
int futex_wake(const futex_word& word, int count) noexcept;

}  // namespace shoal::os
