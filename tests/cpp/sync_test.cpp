#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <thread>
#include <vector>

#include "memory/arena.hpp"
#include "memory/segment.hpp"
#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"
#include "sync/binary_semaphore.hpp"
#include "sync/event.hpp"
#include "sync/event_count.hpp"
#include "sync/robust_mutex.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::forever;
using shoal::no_waiting;
using shoal::process;
using shoal::sync::binary_semaphore;
using shoal::sync::event;
using shoal::sync::event_count;
using shoal::sync::lock_result;
using shoal::sync::robust_mutex;
using shoal::sync::wait_result;
using shoal::test::eventually;
using shoal::test::open_descriptors;
using shoal::test::patience;
using shoal::test::shared;

bool acquire(binary_semaphore& semaphore) {
  const shoal::deadline until = after(patience);
  wait_result result{};
  do {
    result = semaphore.acquire_until(until);
  } while (result == wait_result::interrupted);
  return result == wait_result::done;
}

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

TEST(Arena, ManySlotsShareADescriptor) {
  const auto before = open_descriptors();
  std::vector<std::unique_ptr<binary_semaphore>> locks;
  for (int i = 0; i < 10'000; ++i) {
    locks.push_back(std::make_unique<binary_semaphore>());
  }
  EXPECT_LT(open_descriptors() - before, 20);
}

TEST(Arena, ReusesSlotsThatNobodyElseKnew) {
  const auto before = open_descriptors();
  for (int i = 0; i < 100'000; ++i) {
    const binary_semaphore lock;
    EXPECT_TRUE(lock.is_free());
  }
  EXPECT_LE(open_descriptors() - before, 1);
}

TEST(Arena, CostsTheSameHoweverOftenTheLastSlotComesAndGoes) {
  constexpr int in_one_arena = 960;
  std::vector<std::unique_ptr<event>> held;
  for (int i = 0; i < 2 * in_one_arena; ++i) {
    held.push_back(std::make_unique<event>());
  }
  const auto before = open_descriptors();
  for (int i = 0; i < 200'000; ++i) {  // grew by an entry each time, which made this loop take minutes
    held.back().reset();
    held.back() = std::make_unique<event>();
  }
  EXPECT_LE(open_descriptors() - before, 1);
}

TEST(Arena, ThatIsDamagedIsRefused) {
  using shoal::memory::segment;
  const segment small = segment::create(shoal::memory::segment_kind::arena, "small", shoal::memory::page_size);
  EXPECT_THROW(event({small.descriptor(), 0}), shoal::error);
}

TEST(Arena, NeverReusesASlotThatAChildMayKnow) {
  auto kept_by_child = std::make_unique<binary_semaphore>();
  shared<std::atomic<int>> stage;
  process child([&] {
    stage->store(1);
    eventually([&] { return stage->load() == 2; });
    return kept_by_child->is_free() ? 0 : 1;  // still its own lock, not the parent's new one
  });
  ASSERT_TRUE(eventually([&] { return stage->load() == 1; }));
  kept_by_child.reset();
  std::vector<std::unique_ptr<binary_semaphore>> others;
  for (int i = 0; i < 2'000; ++i) {
    others.push_back(std::make_unique<binary_semaphore>());
    ASSERT_TRUE(others.back()->try_acquire());
  }
  stage->store(2);
  EXPECT_TRUE(child.join().success());
}

TEST(Arena, ParentAndChildAllocateApart) {
  const binary_semaphore before_the_fork;  // so that an arena with room exists
  shared<std::atomic<int>> stage;
  process child([&] {
    std::vector<std::unique_ptr<binary_semaphore>> mine;
    for (int i = 0; i < 500; ++i) {
      mine.push_back(std::make_unique<binary_semaphore>());
      if (!mine.back()->try_acquire()) {
        return 1;
      }
    }
    stage->store(1);
    return eventually([&] { return stage->load() == 2; }) ? 0 : 1;
  });
  ASSERT_TRUE(eventually([&] { return stage->load() == 1; }));
  for (int i = 0; i < 500; ++i) {
    binary_semaphore mine;
    EXPECT_TRUE(mine.try_acquire());
    EXPECT_TRUE(mine.release());
  }
  stage->store(2);
  EXPECT_TRUE(child.join().success());
}

TEST(Arena, RefusesWrongSlots) {
  binary_semaphore lock;
  const auto place = lock.location();
  EXPECT_THROW(event{place}, shoal::error);
  EXPECT_THROW(binary_semaphore({place.arena, 100'000}), shoal::error);
  EXPECT_THROW(binary_semaphore({987, 0}), std::system_error);
}

TEST(BinarySemaphore, ExcludesAcrossProcesses) {
  binary_semaphore lock;
  shared<int> counter;  // not atomic: the lock has to do
  constexpr int each = 5'000;
  std::vector<process> running;
  for (int p = 0; p < 3; ++p) {
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        if (!acquire(lock)) {
          return 1;
        }
        ++*counter;
        lock.release();
      }
      return 0;
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(one.join().success());
  }
  EXPECT_EQ(*counter, 3 * each);
}

TEST(BinarySemaphore, MayBeReleasedByAnotherProcess) {
  binary_semaphore lock;
  ASSERT_TRUE(lock.try_acquire());
  process other([&] { return lock.release() ? 0 : 1; });
  EXPECT_TRUE(acquire(lock));
  EXPECT_TRUE(other.join().success());
}

TEST(BinarySemaphore, RefusesAReleaseTooMany) {
  binary_semaphore lock;
  EXPECT_FALSE(lock.release());
  EXPECT_TRUE(lock.try_acquire());
  EXPECT_FALSE(lock.try_acquire());
  EXPECT_EQ(lock.acquire_until(after(5ms)), wait_result::timed_out);
  EXPECT_TRUE(lock.release());
  EXPECT_FALSE(lock.release());
}

TEST(BinarySemaphore, IsFoundByItsLocation) {
  binary_semaphore lock;
  binary_semaphore same(lock.location());
  EXPECT_TRUE(same.try_acquire());
  EXPECT_FALSE(lock.try_acquire());
}

TEST(Event, WakesAllWhoWait) {
  event ready;
  std::vector<process> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] {
      const std::uint32_t generation = ready.generation();
      const shoal::deadline until = after(patience);
      wait_result result{};
      do {
        result = ready.wait_until(generation, until);
      } while (result == wait_result::interrupted);
      return result == wait_result::done ? 0 : 1;
    });
  }
  ready.set();
  for (process& one : waiting) {
    EXPECT_TRUE(one.join().success());
  }
  ready.clear();
  EXPECT_FALSE(ready.is_set());
  EXPECT_EQ(ready.wait_until(ready.generation(), after(5ms)), wait_result::timed_out);
}

TEST(Event, SettingASetEventIsSeenByWhoeverClearsIt) {
  // The store before set() must not be delayed past it, or the one who clears and then looks would wait for ever.
  event ready;
  shared<std::atomic<int>> work;
  shared<std::atomic<int>> round;
  constexpr int rounds = 20'000;
  process setter([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (round->load(std::memory_order_acquire) != i) {
        ::sched_yield();
      }
      work->store(i, std::memory_order_relaxed);
      ready.set();
    }
  });
  const shoal::deadline until = after(patience);
  bool lost = false;
  for (int i = 1; i <= rounds && !lost; ++i) {
    ready.set();
    round->store(i, std::memory_order_release);
    ready.clear();
    while (work->load(std::memory_order_relaxed) != i && !ready.is_set() && !lost) {
      lost = std::chrono::steady_clock::now() > until;
      ::sched_yield();
    }
    while (work->load(std::memory_order_relaxed) != i) {
      ::sched_yield();
    }
  }
  EXPECT_FALSE(lost);
  EXPECT_TRUE(setter.join().success());
}

TEST(Event, SetAndClearedAtOnceStillWakesWhoWaited) {
  event pulse;
  const std::uint32_t generation = pulse.generation();
  pulse.set();
  pulse.clear();
  EXPECT_EQ(pulse.wait_until(generation, no_waiting), wait_result::done);
}

}  // namespace
