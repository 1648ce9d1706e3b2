#pragma once

#include <chrono>

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

}  // namespace shoal::sync
