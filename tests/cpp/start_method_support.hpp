#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "process_support.hpp"
#include "shoal/process.hpp"

namespace shoal::test {

inline const char* text_of(start_method method) {
  switch (method) {
    case start_method::fork:
      return "fork";
    case start_method::spawn:
      return "spawn";
    case start_method::forkserver:
      return "forkserver";
  }
  return "unknown";
}

inline std::string name_of_method(const testing::TestParamInfo<start_method>& tested) { return text_of(tested.param); }

/// A test of processes that is run once for each start method: INSTANTIATE_BY_EACH_METHOD(suite).
class by_each_method : public testing::TestWithParam<start_method> {
 protected:
  static process_options by_method() { return {.method = GetParam()}; }
  static bool is_fork() { return GetParam() == start_method::fork; }

  static exit_status join_soon(process& child) {
    const std::optional<exit_status> status = child.join_for(patience);
    if (!status) {
      child.kill();
      child.join();
      throw std::runtime_error("the child did not end");
    }
    return *status;
  }

  template <class... Call>
  static exit_status run(Call&&... call) {
    process child(by_method(), std::forward<Call>(call)...);
    return join_soon(child);
  }
};

}  // namespace shoal::test

#define INSTANTIATE_BY_EACH_METHOD(suite)                                                                      \
  INSTANTIATE_TEST_SUITE_P(                                                                                    \
      ByEach, suite,                                                                                           \
      testing::Values(shoal::start_method::fork, shoal::start_method::spawn, shoal::start_method::forkserver), \
      shoal::test::name_of_method)
