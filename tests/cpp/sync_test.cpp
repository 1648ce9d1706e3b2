#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <limits>
#include <thread>
#include <vector>

#include "process_support.hpp"
#include "shoal/process.hpp"
#include "sync/event_count.hpp"
#include "sync/robust_mutex.hpp"
#include "sync/spin.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::forever;
using shoal::process;
using shoal::sync::event_count;
using shoal::sync::lock_result;
using shoal::sync::robust_mutex;
using shoal::test::eventually;
using shoal::test::patience;
using shoal::test::shared;

TEST(RobustMutex, TellsTheNextOfADeadOwner) {
  shared<robust_mutex> mutex;
  mutex->initialize();
  process holder([&] {
    (void)mutex->lock_until(forever);
    ::raise(SIGKILL);
  });
  EXPECT_TRUE(holder.join().signaled());
  EXPECT_EQ(mutex->lock_until(after(patience)), lock_result::owner_died);
  mutex->consistent();
  mutex->unlock();
  EXPECT_EQ(mutex->try_lock(), lock_result::acquired);
  mutex->unlock();
}

TEST(RobustMutex, TellsAgainIfTheRepairerDiesToo) {
  shared<robust_mutex> mutex;
  mutex->initialize();
  for (int i = 0; i < 2; ++i) {
    process victim([&] {
      (void)mutex->lock_until(forever);
      ::raise(SIGKILL);
    });
    (void)victim.join();
  }
  EXPECT_EQ(mutex->spin_lock(), lock_result::owner_died);
  mutex->consistent();
  mutex->unlock();
}

TEST(RobustMutex, GivesUpAtTheDeadline) {
  shared<robust_mutex> mutex;
  mutex->initialize();
  ASSERT_EQ(mutex->try_lock(), lock_result::acquired);
  process other([&] {
    const bool refused = mutex->try_lock() == lock_result::timed_out && mutex->spin_lock() == lock_result::timed_out &&
                         mutex->lock_until(after(10ms)) == lock_result::timed_out;
    return refused ? 0 : 1;
  });
  EXPECT_TRUE(other.join().success());
  mutex->unlock();
}

TEST(EventCount, WakesEverySleeperItIsAskedTo) {
  shared<event_count> changed;
  shared<std::atomic<int>> value;
  std::vector<process> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&] {
      while (value->load() == 0) {
        const std::uint32_t key = changed->prepare_wait();
        if (value->load() == 0) {
          changed->wait(key, forever);
        }
      }
    });
  }
  ASSERT_TRUE(eventually([&] { return changed->has_sleepers(); }));
  value->store(1);
  changed->notify(std::numeric_limits<int>::max());
  for (process& sleeper : sleepers) {
    EXPECT_TRUE(sleeper.join().success());
  }
}

TEST(EventCount, LetsNobodySleepLongOverAChangeWhoseMakerDied) {
  shared<event_count> changed;
  shared<std::atomic<int>> value;
  process sleeper([&] {
    while (value->load() == 0) {
      const std::uint32_t key = changed->prepare_wait();
      if (value->load() == 0) {
        changed->wait(key, forever);
      }
    }
  });
  ASSERT_TRUE(eventually([&] { return changed->has_sleepers(); }));
  value->store(1);  // and no wake: as if killed before it
  EXPECT_TRUE(sleeper.join_for(patience).has_value());
}

TEST(EventCount, ForgetsSleepersWhoWereKilled) {
  shared<event_count> changed;
  process victim([&] { changed->wait(changed->prepare_wait(), forever); });
  ASSERT_TRUE(eventually([&] { return changed->has_sleepers(); }));
  victim.kill();
  (void)victim.join();
  changed->notify(1);
  EXPECT_FALSE(changed->has_sleepers());  // so that later changes make no system call
}

TEST(AdaptiveSpin, EndsWhenTheConditionHolds) {
  shoal::sync::adaptive_spin spin;
  int looks = 0;
  EXPECT_TRUE(spin([&] { return ++looks == 3; }, forever));
  EXPECT_EQ(looks, 3);
}

TEST(AdaptiveSpin, GivesUpSoon) {
  shoal::sync::adaptive_spin spin;
  EXPECT_FALSE(spin([] { return false; }, forever));
  EXPECT_FALSE(spin([] { return false; }, shoal::no_waiting));
}

TEST(AdaptiveSpin, IsGivenUpWhileWaitsAreLong) {
  shoal::sync::adaptive_spin spin;
  const auto looks = [&spin] {
    int count = 0;
    EXPECT_FALSE(spin([&] { return ++count, false; }, forever));
    return count;
  };
  for (int i = 0; i < 32; ++i) {
    spin.waited(1s);
  }
  constexpr int looks_without_a_budget = 7;
  EXPECT_LE(looks(), looks_without_a_budget);
}

}  // namespace
