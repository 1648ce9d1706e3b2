#include "shoal/latch.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <vector>

#include "lock_support.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::latch;
using shoal::process;
using shoal::test::patience;
using shoal::test::succeeds;

TEST(Latch, OpensWhenItHasCountedDown) {
  latch ready(3);
  std::vector<process> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.emplace_back([&] { ready.wait(); });
  }
  ready.count_down(2);
  EXPECT_FALSE(ready.try_wait());
  EXPECT_FALSE(waiting.front().join_for(5ms));
  ready.count_down();
  EXPECT_TRUE(ready.try_wait());
  for (process& one : waiting) {
    EXPECT_TRUE(succeeds(one));
  }
  ready.wait();  // and stays open
  EXPECT_TRUE(ready.wait_for(0ms));
}

TEST(Latch, LetsThoseGoOnTogetherWhoArriveAndWait) {
  latch ready(4);
  std::vector<process> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] { ready.arrive_and_wait(); });
  }
  ready.arrive_and_wait();
  for (process& other : others) {
    EXPECT_TRUE(succeeds(other));
  }
}

TEST(Latch, IsWaitedForInVainUntilItsTime) {
  latch ready(1);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(ready.wait_for(20ms));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  EXPECT_FALSE(ready.wait_until(std::chrono::steady_clock::now() + 5ms));
  EXPECT_FALSE(ready.wait_until(std::chrono::system_clock::now() + 5ms));
  process other([&] { ready.count_down(); });
  EXPECT_TRUE(ready.wait_until(std::chrono::system_clock::now() + patience));
  EXPECT_TRUE(succeeds(other));
}

TEST(Latch, OfNothingIsOpen) {
  latch ready(0);
  EXPECT_TRUE(ready.try_wait());
  ready.wait();
}

TEST(Latch, RefusesImpossibleNumbers) {
  EXPECT_THROW(latch(-1), std::invalid_argument);
  latch ready(2);
  EXPECT_THROW(ready.count_down(-1), std::invalid_argument);
  EXPECT_THROW(ready.count_down(3), std::invalid_argument);
  ready.count_down(0);
  EXPECT_FALSE(ready.try_wait());
  ready.count_down(2);
  EXPECT_THROW(ready.count_down(), std::invalid_argument);
  latch(latch::max()).count_down(latch::max());
}

TEST(Latch, OneWhoIsKilledBeforeItCountsIsMissed) {
  latch ready(1);
  process victim([&] {
    ::raise(SIGKILL);
    ready.count_down();
  });
  (void)victim.join();
  EXPECT_FALSE(ready.wait_for(5ms));
}

TEST(Latch, IsFoundByItsHandle) {
  latch ready(1);
  latch same(ready.native_handle());
  same.count_down();
  EXPECT_TRUE(ready.try_wait());
  shoal::event stranger;
  EXPECT_THROW(latch(stranger.native_handle()), shoal::error);
}

}  // namespace
