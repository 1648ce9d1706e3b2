#include "shoal/async.hpp"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "process_support.hpp"
#include "shoal/queue.hpp"
#include "start_method_support.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process_options;
using shoal::start_method;

class Async : public shoal::test::by_each_method {};

INSTANTIATE_BY_EACH_METHOD(Async);

std::vector<std::string> repeat(const std::string& text, std::size_t count) {
  return std::vector<std::string>(count, text);
}

TEST_P(Async, ReturnsWhatTheFunctionReturned) {
  shoal::future<std::vector<std::string>> answer = shoal::async(by_method(), repeat, "word", 3U);
  EXPECT_TRUE(answer.valid());
  EXPECT_EQ(answer.get(), (std::vector<std::string>{"word", "word", "word"}));
  EXPECT_FALSE(answer.valid());
}

TEST_P(Async, ReturnsMuch) {
  auto answer = shoal::async(by_method(), [] { return std::string(5'000'000, 'x'); });
  EXPECT_EQ(answer.get(), std::string(5'000'000, 'x'));
}

TEST_P(Async, OfAFunctionWithoutResultIsDoneWhenItReturns) {
  shoal::queue<int> values;
  auto done = shoal::async(
      by_method(), [](shoal::queue<int> out) { out.push(7); }, std::ref(values));
  done.get();
  EXPECT_EQ(values.try_pop(), 7);
}

TEST_P(Async, ThrowsWhatTheFunctionThrew) {
  auto answer = shoal::async(by_method(), []() -> int { throw std::out_of_range("no row"); });
  try {
    answer.get();
    FAIL() << "returned";
  } catch (const shoal::remote_error& error) {
    EXPECT_EQ(error.type(), "std::out_of_range");
  }
}

TEST_P(Async, SaysThatTheProcessWasKilled) {
  auto answer = shoal::async(by_method(), [] {
    ::raise(SIGKILL);
    return 1;
  });
  try {
    answer.get();
    FAIL() << "returned";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("was killed by SIGKILL"), std::string::npos) << error.what();
  }
}

TEST_P(Async, CanBeWaitedFor) {
  shoal::queue<int> values;
  auto answer = shoal::async(
      by_method(), [](shoal::queue<int>& in) { return in.pop(); }, std::ref(values));
  EXPECT_EQ(answer.wait_for(5ms), std::future_status::timeout);
  values.push(1);
  EXPECT_EQ(answer.wait_for(20s), std::future_status::ready);
  EXPECT_TRUE(shoal::test::becomes_readable(answer.native_handle()));
  EXPECT_EQ(answer.get(), 1);
  EXPECT_THROW((void)answer.get(), std::future_error);
}

TEST_P(Async, IsWaitedForByTheDestructor) {
  shoal::queue<int> values;
  {
    const auto unused = shoal::async(
        by_method(), [](shoal::queue<int>& out) { out.push(1); }, std::ref(values));
  }
  EXPECT_EQ(values.try_pop(), 1);
}

}  // namespace
