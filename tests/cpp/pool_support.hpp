#pragma once

#include <chrono>
#include <csignal>
#include <future>
#include <istream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "process_support.hpp"
#include "shoal/pool.hpp"

namespace shoal::test {

/// The result of a task that must not take long.
template <class R>
R get(task<R> awaited) {
  if (awaited.wait_for(patience) != std::future_status::ready) {
    throw std::runtime_error("the task has no outcome");
  }
  return awaited.get();
}

/// The text of what the task fails with, which must be an E.
template <class E, class R>
std::string failure_of(task<R> awaited) {
  try {
    get(std::move(awaited));
  } catch (const E& expected) {
    return expected.what();
  }
  throw std::logic_error("nothing was thrown");
}

inline int twice(int number) { return 2 * number; }
inline void die() { std::raise(SIGKILL); }
inline void sleep_for_long() { std::this_thread::sleep_for(std::chrono::hours(1)); }

/// A range that can be passed only once.
struct words_of {
  std::istream& text;
  std::istream_iterator<std::string> begin() const { return {text}; }
  static std::istream_iterator<std::string> end() { return {}; }
};

}  // namespace shoal::test
