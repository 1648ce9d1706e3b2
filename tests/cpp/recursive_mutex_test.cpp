#include "shoal/recursive_mutex.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/detail/lockable.hpp"
#include "shoal/error.hpp"
#include "shoal/mutex.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process;
using shoal::recursive_mutex;
using shoal::test::code_of;
using shoal::test::holder;
using shoal::test::in_child;
using shoal::test::shared;
using shoal::test::succeeds;

static_assert(shoal::detail::timed_lockable<recursive_mutex>);
static_assert(std::is_same_v<shoal::recursive_timed_mutex, recursive_mutex>);

TEST(RecursiveMutex, IsFreeWhenItWasUnlockedAsOftenAsLocked) {
  recursive_mutex guard;
  guard.lock();
  EXPECT_TRUE(guard.try_lock());
  EXPECT_TRUE(guard.try_lock_for(1h));
  EXPECT_TRUE(guard.try_lock_until(std::chrono::system_clock::now() + 1h));
  for (int i = 0; i < 3; ++i) {
    guard.unlock();
    EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  }
  guard.unlock();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(RecursiveMutex, ExcludesProcesses) {
  recursive_mutex guard;
  shared<int> counter;
  constexpr int each = 3'000;
  std::vector<process> running;
  for (int p = 0; p < 3; ++p) {
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const std::scoped_lock outer(guard);
        ++*counter;
        const std::scoped_lock inner(guard);
        ++*counter;
      }
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(*counter, 3 * 2 * each);
}

TEST(RecursiveMutex, IsAnotherThreadsToo) {
  recursive_mutex guard;
  const std::scoped_lock lock(guard);
  std::thread([&] {
    EXPECT_FALSE(guard.try_lock());
    EXPECT_FALSE(guard.try_lock_for(5ms));
    EXPECT_EQ(code_of([&] { guard.unlock(); }), std::errc::operation_not_permitted);
  }).join();
}

TEST(RecursiveMutex, AForkedChildHoldsNothing) {
  recursive_mutex guard;
  guard.lock();
  guard.lock();
  EXPECT_TRUE(in_child(
      [&] { return !guard.try_lock() && code_of([&] { guard.unlock(); }) == std::errc::operation_not_permitted; }));
  guard.unlock();
  guard.unlock();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(RecursiveMutex, IsNotUnlockedTooOften) {
  recursive_mutex guard;
  guard.lock();
  guard.unlock();
  EXPECT_EQ(code_of([&] { guard.unlock(); }), std::errc::operation_not_permitted);
}

TEST(RecursiveMutex, KnowsItsLabelAndItsHolder) {
  recursive_mutex guard("tree");
  EXPECT_EQ(guard.label(), "tree");
  EXPECT_FALSE(guard.holder());
  const holder other(guard);
  ASSERT_TRUE(other.holds());
  EXPECT_EQ(guard.holder()->process, other.id());
  EXPECT_TRUE(guard.holder()->alive);
}

TEST(RecursiveMutex, IsFoundByItsHandle) {
  recursive_mutex guard;
  recursive_mutex same(guard.native_handle());
  guard.lock();
  same.lock();
  guard.unlock();
  EXPECT_FALSE(in_child([&] { return same.try_lock(); }));
  guard.unlock();
  shoal::mutex plain;
  EXPECT_THROW(recursive_mutex(plain.native_handle()), shoal::error);
}

}  // namespace
