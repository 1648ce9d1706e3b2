#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "os/futex.hpp"
#include "shoal/deadline.hpp"
#include "sync/event_count.hpp"
#include "sync/spin.hpp"

namespace shoal::sync {

/// How a wait ended.
enum class wait_result {
  done,  ///< the condition may be true
  timed_out,
  interrupted,  ///< a signal handler ran, or a second has passed: wait again to go on
};

/// Waits until `condition()` may be true: spins while that pays, then sleeps until `changed` is notified. `condition`
/// must read with sequential consistency.
template <class Condition>
wait_result wait_for(Condition condition, event_count& changed, adaptive_spin& spin, deadline until) {
  using std::chrono::steady_clock;
  const deadline begin = steady_clock::now();
  if (begin >= until) {
    return wait_result::timed_out;
  }
  bool undisturbed = spin(condition, until);
  if (!undisturbed) {
    const std::uint32_t key = changed.prepare_wait();
    undisturbed = condition() || changed.wait(key, until);
  }
  const deadline end = steady_clock::now();
  spin.waited(end - begin);
  if (undisturbed) {
    return wait_result::done;
  }
  return end >= until ? wait_result::timed_out : wait_result::interrupted;
}

/// The same on a word that has a bit for "somebody is asleep": whoever changes the word takes the bit away in the same
/// step and then wakes, and touches nothing but the word. announce() sets the bit and returns what the word is then, or
/// nothing if the condition has come true meanwhile.
template <class Condition, class Announce>
wait_result wait_on(const os::futex_word& word, Condition condition, Announce announce, adaptive_spin& spin,
                    deadline until) {
  using std::chrono::steady_clock;
  const deadline begin = steady_clock::now();
  if (begin >= until) {
    return wait_result::timed_out;
  }
  bool undisturbed = spin(condition, until);
  if (!undisturbed) {
    const deadline next_tick = begin + event_count::tick;
    const std::optional<std::uint32_t> expected = announce();
    const os::futex_result result =
        expected ? os::futex_wait(word, *expected, std::min(until, next_tick)) : os::futex_result::changed;
    undisturbed = result == os::futex_result::woken || result == os::futex_result::changed;
  }
  const deadline end = steady_clock::now();
  spin.waited(end - begin);
  if (undisturbed) {
    return wait_result::done;
  }
  return end >= until ? wait_result::timed_out : wait_result::interrupted;
}

/// What announce() of wait_on() does, for a word in which `bit` says that somebody is asleep.
template <class Word, class IsOver>
std::optional<std::uint32_t> set_asleep(std::atomic<Word>& word, Word bit, IsOver is_over) noexcept {
  Word seen = word.load(std::memory_order_seq_cst);
  while (!is_over(seen)) {
    if ((seen & bit) != 0 || word.compare_exchange_weak(seen, seen | bit, std::memory_order_seq_cst)) {
      return static_cast<std::uint32_t>(seen | bit);
    }
  }
  return std::nullopt;
}

}  // namespace shoal::sync
