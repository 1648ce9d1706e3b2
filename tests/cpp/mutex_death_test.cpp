// What becomes of mutexes whose holder has died.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/mutex.hpp"
#include "shoal/recursive_mutex.hpp"
#include "shoal/shared_mutex.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::mutex;
using shoal::owner_died;
using shoal::process;
using shoal::memory::slot_kind;
using shoal::test::code_of;
using shoal::test::dead_told_by;
using shoal::test::die_with;
using shoal::test::holder;
using shoal::test::in_child;
using shoal::test::shared;
using shoal::test::succeeds;
using std::chrono::steady_clock;

/// All that have an owner.
template <class Mutex>
class MutexOfADeadHolder : public testing::Test {
 protected:
  static constexpr slot_kind kind = std::is_same_v<Mutex, shoal::mutex>             ? slot_kind::mutex
                                    : std::is_same_v<Mutex, shoal::recursive_mutex> ? slot_kind::recursive_mutex
                                                                                    : slot_kind::shared_mutex;
};

using mutexes = testing::Types<shoal::mutex, shoal::recursive_mutex, shoal::shared_mutex>;
TYPED_TEST_SUITE(MutexOfADeadHolder, mutexes);

TYPED_TEST(MutexOfADeadHolder, IsHeldByTheNextWhoIsTold) {
  TypeParam guard("accounts");
  const pid_t victim = die_with(guard);
  try {
    guard.lock();
    FAIL() << "nobody was told";
  } catch (const owner_died& told) {
    EXPECT_EQ(told.code(), std::errc::owner_dead);
    EXPECT_EQ(told.dead().process, victim);
    EXPECT_EQ(told.dead().thread, victim);
    EXPECT_FALSE(told.dead().alive);
    EXPECT_THAT(told.what(), testing::HasSubstr("process " + std::to_string(victim)));
    EXPECT_THAT(told.what(), testing::HasSubstr("'accounts'"));
  }
  EXPECT_EQ(guard.holder()->process, ::getpid());
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.consistent();
  guard.unlock();
  guard.lock();  // and all is forgotten
  guard.unlock();
}

TYPED_TEST(MutexOfADeadHolder, IsFreeAlsoAfterAnOrderlyEnd) {
  TypeParam guard;
  process careless([&] { guard.lock(); });
  const pid_t id = careless.id();
  EXPECT_TRUE(succeeds(careless));
  EXPECT_EQ(dead_told_by([&] { guard.lock(); }).process, id);
  guard.consistent();
  guard.unlock();
}

TYPED_TEST(MutexOfADeadHolder, IsFreeAfterTheEndOfAThread) {
  TypeParam guard;
  pid_t id = 0;
  std::thread([&] {
    id = ::gettid();
    guard.lock();
  }).join();
  const shoal::lock_holder dead = dead_told_by([&] { guard.lock(); });
  EXPECT_EQ(dead.process, ::getpid());
  EXPECT_EQ(dead.thread, id);
  guard.consistent();
  guard.unlock();
}

TYPED_TEST(MutexOfADeadHolder, IsToldOfByEveryFormOfLock) {
  TypeParam guard;
  const auto expect_told = [&](auto lock) {
    const pid_t victim = die_with(guard);
    EXPECT_EQ(dead_told_by(lock).process, victim);
    guard.consistent();
    guard.unlock();
  };
  expect_told([&] { (void)guard.try_lock(); });
  expect_told([&] { (void)guard.try_lock_for(1h); });
  expect_told([&] { (void)guard.try_lock_for(0ms); });
  expect_told([&] { (void)guard.try_lock_until(std::chrono::system_clock::now() + 1h); });
}

TYPED_TEST(MutexOfADeadHolder, IsRecoveredUnderAUniqueLock) {
  TypeParam guard;
  die_with(guard);
  try {
    guard.lock();
  } catch (const owner_died&) {
    guard.consistent();
  }
  { const std::unique_lock lock(guard, std::adopt_lock); }
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TYPED_TEST(MutexOfADeadHolder, UnlockedWithoutConsistentIsRefusedToAll) {
  TypeParam guard;
  die_with(guard);
  EXPECT_NE(dead_told_by([&] { guard.lock(); }).process, 0);
  guard.unlock();
  EXPECT_EQ(code_of([&] { guard.lock(); }), std::errc::state_not_recoverable);
  EXPECT_EQ(code_of([&] { (void)guard.try_lock(); }), std::errc::state_not_recoverable);
  EXPECT_EQ(code_of([&] { (void)guard.try_lock_for(1h); }), std::errc::state_not_recoverable);
  EXPECT_TRUE(in_child([&] { return code_of([&] { guard.lock(); }) == std::errc::state_not_recoverable; }));
  EXPECT_FALSE(guard.holder());
}

TYPED_TEST(MutexOfADeadHolder, UnlockedWithoutConsistentIsRefusedToAllWhoSleep) {
  TypeParam guard;
  die_with(guard);
  EXPECT_NE(dead_told_by([&] { guard.lock(); }).process, 0);
  std::vector<process> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&] { return code_of([&] { guard.lock(); }) == std::errc::state_not_recoverable ? 0 : 1; });
  }
  ASSERT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(guard, this->kind), 3));
  guard.unlock();
  for (process& one : sleepers) {
    EXPECT_TRUE(succeeds(one));
  }
}

TYPED_TEST(MutexOfADeadHolder, IsToldOfAgainIfTheOneWhoWasToldDies) {
  TypeParam guard;
  pid_t last = die_with(guard);
  for (int i = 0; i < 3; ++i) {
    process victim([&, last] {
      if (dead_told_by([&] { guard.lock(); }).process == last) {
        ::raise(SIGKILL);
      }
    });
    last = victim.id();
    EXPECT_TRUE(victim.join().signaled());
  }
  EXPECT_EQ(dead_told_by([&] { guard.lock(); }).process, last);
  guard.consistent();
  guard.unlock();
}

TYPED_TEST(MutexOfADeadHolder, IsToldOfOnceOnly) {
  TypeParam guard;
  die_with(guard);
  shared<std::atomic<int>> told;
  std::vector<process> lockers;
  for (int i = 0; i < 3; ++i) {
    lockers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        try {
          guard.lock();
        } catch (const owner_died&) {
          ++*told;
          guard.consistent();
        }
        guard.unlock();
      }
    });
  }
  for (process& one : lockers) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(told->load(), 1);
}

TYPED_TEST(MutexOfADeadHolder, ConsistentIsForTheHolderToSay) {
  TypeParam guard;
  die_with(guard);
  EXPECT_NE(dead_told_by([&] { guard.lock(); }).process, 0);
  std::thread([&] { guard.consistent(); }).join();  // has no say in this
  guard.unlock();
  EXPECT_EQ(code_of([&] { guard.lock(); }), std::errc::state_not_recoverable);
}

TYPED_TEST(MutexOfADeadHolder, ConsistentMeansNothingWithoutADeath) {
  TypeParam guard;
  guard.consistent();
  guard.lock();
  guard.consistent();
  guard.unlock();
  guard.lock();
  guard.unlock();
}

/// Several sleepers before each of several mutexes, all of one holder. @return how long the slowest slept on.
template <class Mutex>
steady_clock::duration last_wake_after_a_death(slot_kind kind) {
  struct times {
    std::atomic<steady_clock::rep> last;
    std::atomic<int> told;
  };
  shared<times> seen;
  std::list<Mutex> guards(3);
  holder owner(
      [&] {
        for (Mutex& guard : guards) {
          guard.lock();
        }
      },
      [] {});
  std::vector<process> sleepers;
  for (Mutex& guard : guards) {
    for (int i = 0; i < 3; ++i) {
      sleepers.emplace_back([&] {
        try {
          guard.lock();
        } catch (const owner_died&) {
          ++seen->told;
          guard.consistent();
        }
        seen->last.store(std::max(seen->last.load(), steady_clock::now().time_since_epoch().count()));
        guard.unlock();
      });
    }
  }
  for (Mutex& guard : guards) {
    EXPECT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(guard, kind), 3));
  }
  const auto killed = steady_clock::now();
  owner.kill();
  for (process& one : sleepers) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(seen->told.load(), 3);
  return steady_clock::time_point(steady_clock::duration(seen->last.load())) - killed;
}

TYPED_TEST(MutexOfADeadHolder, WakesWhoSleepsBeforeIt) {
  const auto first = last_wake_after_a_death<TypeParam>(this->kind);
  if (!shoal::test::has_futex_waitv()) {
    GTEST_SKIP() << "without futex_waitv(2) they are woken by the clock";
  }
  // By the death and not by the clock, which would take a second. Once must do: the machine may be busy.
  auto fastest = first;
  for (int attempt = 0; attempt < 4 && fastest >= 900ms; ++attempt) {
    fastest = std::min(fastest, last_wake_after_a_death<TypeParam>(this->kind));
  }
  EXPECT_LT(fastest, 900ms);
}

TYPED_TEST(MutexOfADeadHolder, WakesWhoSleepsBeforeThatOfAThread) {
  TypeParam guard;
  shared<std::atomic<bool>> end;
  std::thread owner([&] {
    guard.lock();
    shoal::test::eventually([&] { return end->load(); });
  });
  ASSERT_TRUE(shoal::test::eventually([&] { return guard.holder().has_value(); }));
  bool told = false;
  std::thread sleeper([&] {
    told = dead_told_by([&] { guard.lock(); }).process == ::getpid();
    guard.consistent();
    guard.unlock();
  });
  EXPECT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(guard, this->kind), 1));
  end->store(true);
  owner.join();
  sleeper.join();
  EXPECT_TRUE(told);
}

TEST(RecursiveMutexOfADeadHolder, IsHeldOnceByTheNextHoweverOftenItWasLocked) {
  shoal::recursive_mutex guard;
  process victim([&] {
    for (int i = 0; i < 5; ++i) {
      guard.lock();
    }
    ::raise(SIGKILL);
  });
  (void)victim.join();
  EXPECT_NE(dead_told_by([&] { guard.lock(); }).process, 0);
  guard.lock();  // again, which is no reason to be told again
  guard.consistent();
  guard.unlock();
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.unlock();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(MutexesOfADeadHolder, AreAllToldOf) {
  std::list<mutex> guards(100);
  process victim([&] {
    for (mutex& guard : guards) {
      guard.lock();
    }
    ::raise(SIGKILL);
  });
  const pid_t id = victim.id();
  (void)victim.join();
  for (mutex& guard : guards) {
    EXPECT_EQ(dead_told_by([&] { guard.lock(); }).process, id);
    guard.consistent();
    guard.unlock();
  }
}

TEST(MutexesOfADeadHolder, AreToldOfEvenWhereManyHaveComeAndGoneSince) {
  mutex guard;
  mutex other;
  const pid_t victim = die_with(guard);
  for (int i = 0; i < 100; ++i) {  // none of them gets the record of the victim, who is still referred to
    EXPECT_TRUE(in_child([&] {
      const std::scoped_lock lock(other);
      return true;
    }));
  }
  EXPECT_EQ(dead_told_by([&] { guard.lock(); }).process, victim);
  guard.consistent();
  guard.unlock();
}

TEST(MutexesOfADeadHolder, AreNoHindranceToAnExec) {
  mutex guard;
  process holder([&] {
    guard.lock();
    ::execl("/bin/true", "true", nullptr);
    return 1;
  });
  const pid_t id = holder.id();
  ASSERT_TRUE(shoal::test::eventually([&] { return guard.holder().has_value(); }));
  EXPECT_EQ(dead_told_by([&] { (void)guard.try_lock_for(shoal::test::patience); }).process, id);
  guard.consistent();
  guard.unlock();
  EXPECT_TRUE(succeeds(holder));
}

}  // namespace
