// Processes are killed at random while all of them use the same locks, conditions and semaphores. What the locks guard
// is whole, or its damage was told; notifications and units are lost to nobody but the dead.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "process_support.hpp"
#include "shoal/barrier.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/error.hpp"
#include "shoal/mutex.hpp"
#include "shoal/process.hpp"
#include "shoal/recursive_mutex.hpp"
#include "shoal/shared_mutex.hpp"
#include "single_step.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::owner_died;
using shoal::process;
using shoal::test::chaos_is_long;
using shoal::test::eventually;
using shoal::test::patience;
using shoal::test::shared;

constexpr int workers = 4;

/// Two numbers that are the same unless somebody was killed between the two additions.
struct guarded_pair {
  std::atomic<long> first;
  std::atomic<long> second;

  void change() {
    first.store(first.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    second.store(second.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void mend() { second.store(first.load()); }
  [[nodiscard]] bool is_whole() const { return first.load() == second.load(); }
};

struct record {
  std::atomic<long> torn;         // found so, and nobody was told
  std::atomic<long> told;         // how often somebody was told of a death
  std::atomic<long> turns;        // how much was done altogether
  std::atomic<long> of[workers];  // the same, by worker
};

/// Runs `work` in processes that are killed one after the other, and started again. @return how many were killed.
template <class Work>
int kill_at_random(int kills, Work work, const record& done) {
  std::mt19937 random(4711);  // NOLINT(cert-msc51-cpp): the same each time, as far as that goes
  std::vector<process> running;
  for (int i = 0; i < workers; ++i) {
    running.emplace_back([&work, i] { work(i); });
  }
  int killed = 0;
  for (; killed < kills; ++killed) {
    std::this_thread::sleep_for(std::chrono::microseconds(std::uniform_int_distribution(200, 4'000)(random)));
    const int victim = std::uniform_int_distribution(0, workers - 1)(random);
    process& one = running[static_cast<std::size_t>(victim)];
    one.kill();
    EXPECT_TRUE(one.join().signaled()) << "ended by itself";
    one = process([&work, victim] { work(victim); });
    if (killed % 100 == 99 || killed == kills - 1) {
      // All go on, each of them.
      std::vector<long> before(std::begin(done.of), std::end(done.of));
      EXPECT_TRUE(eventually([&] {
        bool all = true;
        for (int i = 0; i < workers; ++i) {
          all = all && done.of[i] > before[static_cast<std::size_t>(i)];
        }
        return all;
      })) << "somebody does not get on any more after "
          << killed + 1 << " kills";
    }
    if (testing::Test::HasFailure()) {
      break;
    }
  }
  for (process& one : running) {
    one.kill();
    (void)one.join();
  }
  return killed + workers;
}

int kills_wanted() { return chaos_is_long() ? 10'000 : 300; }

template <class Mutex>
class MutexUnderRandomKills : public testing::Test {};

using mutexes = testing::Types<shoal::mutex, shoal::recursive_mutex, shoal::shared_mutex>;
TYPED_TEST_SUITE(MutexUnderRandomKills, mutexes);

TYPED_TEST(MutexUnderRandomKills, TellsOfEachDeathThatMatters) {
  TypeParam guard;
  shared<guarded_pair> guarded;
  shared<record> done;
  const auto work = [&](int me) {
    for (;;) {
      bool told = false;
      try {
        guard.lock();
      } catch (const owner_died&) {
        told = true;
        ++done->told;
      }
      if constexpr (std::is_same_v<TypeParam, shoal::recursive_mutex>) {
        guard.lock();
        guard.lock();
        guard.unlock();
        guard.unlock();
      }
      if (!guarded->is_whole() && !told) {
        ++done->torn;
      }
      if (told) {
        guarded->mend();
        guard.consistent();
      }
      guarded->change();
      guard.unlock();
      if constexpr (std::is_same_v<TypeParam, shoal::shared_mutex>) {
        try {
          const std::shared_lock lock(guard);
          done->torn += guarded->is_whole() ? 0 : 1;
        } catch (const owner_died&) {
          guard.unlock_shared();
        }
      }
      ++done->turns;
      ++done->of[me];
    }
  };
  const int killed = kill_at_random(kills_wanted() / 3, work, *done);
  EXPECT_EQ(done->torn, 0);
  EXPECT_LE(done->told, killed);
  std::printf("%d kills, %ld turns, %ld of them after a death\n", killed, done->turns.load(), done->told.load());
  // Nothing is left over.
  try {
    EXPECT_TRUE(guard.try_lock_for(patience));
  } catch (const owner_died&) {
    guard.consistent();
  }
  guard.unlock();
  guard.lock();
  guard.unlock();
}

/// A mutex with two conditions whose users forgive a death. Who died may have been notified and not have come to do
/// what for, so all are to look again.
class forgiving_monitor {
 public:
  std::unique_lock<shoal::mutex> lock() {
    try {
      guard_.lock();
    } catch (const owner_died&) {
      mend();
    }
    return {guard_, std::adopt_lock};
  }

  template <class Predicate>
  void wait(shoal::condition_variable& changed, std::unique_lock<shoal::mutex>& lock, Predicate predicate) {
    while (!predicate()) {
      try {
        changed.wait(lock);
      } catch (const owner_died&) {
        mend();
        lock = std::unique_lock(guard_, std::adopt_lock);
      }
    }
  }

  shoal::condition_variable filled;
  shoal::condition_variable emptied;

 private:
  void mend() {
    filled.notify_all();
    emptied.notify_all();
    guard_.consistent();
  }

  shoal::mutex guard_;
};

TEST(ConditionUnderRandomKills, LosesNoNotification) {
  // Two put tokens and two take them, with a notification for each and no time limits. The number of tokens changes in
  // one step, so that a death leaves it right. If a notification were lost, a taker would sleep over a token, and soon
  // nobody would go on: then a worker does not get on any more.
  forgiving_monitor monitor;
  shared<std::atomic<int>> tokens;
  shared<record> done;
  constexpr int most = 2;
  const auto work = [&](int me) {
    for (;;) {
      auto lock = monitor.lock();
      if (me % 2 == 0) {
        monitor.wait(monitor.emptied, lock, [&] { return tokens->load() < most; });
        // Before the token is there: who is killed in between leaves a notification too many, and not one too few.
        monitor.filled.notify_one();
        ++*tokens;
      } else {
        monitor.wait(monitor.filled, lock, [&] { return tokens->load() > 0; });
        monitor.emptied.notify_one();
        --*tokens;
      }
      ++done->of[me];
    }
  };
  const int killed = kill_at_random(kills_wanted() / 2, work, *done);
  EXPECT_GE(tokens->load(), 0);
  EXPECT_LE(tokens->load(), most);
  std::printf("%d kills\n", killed);
}

TEST(SemaphoreUnderRandomKills, LosesTheUnitOfTheDeadOnly) {
  constexpr int units = 2;
  shoal::counting_semaphore rooms(units);
  struct counts {
    std::atomic<bool> enough;
    std::atomic<int> inside;
    std::atomic<int> too_many;
  };
  shared<counts> seen;
  std::mt19937 random(4711);  // NOLINT(cert-msc51-cpp): the same each time, as far as that goes
  int lost = 0;
  const int rounds = kills_wanted() / 3;
  for (int round = 0; round < rounds && !testing::Test::HasFailure(); ++round) {
    seen->enough = false;
    std::vector<process> running;
    for (int i = 0; i < workers; ++i) {
      running.emplace_back([&] {
        while (!seen->enough) {
          rooms.acquire();
          rooms.release();
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::microseconds(std::uniform_int_distribution(200, 4'000)(random)));
    running.back().kill();
    EXPECT_TRUE(running.back().join().signaled());
    running.pop_back();
    seen->enough = true;
    for (process& one : running) {
      EXPECT_TRUE(shoal::test::succeeds(one)) << "sleeps on over a unit that is free";
    }
    EXPECT_LE(rooms.value(), units);
    EXPECT_GE(rooms.value(), units - 1);
    lost += static_cast<int>(units - rooms.value());
    rooms.release(units - rooms.value());
  }
  std::printf("%d kills, %d units lost\n", rounds, lost);
}

TEST(BarrierUnderRandomKills, LetsNobodyGoOnBeforeAllHaveCome) {
  struct counts {
    std::atomic<long> arrived;
    std::atomic<long> completed;
    std::atomic<long> early;
    std::atomic<long> broken;
  };
  shared<counts> seen;
  shoal::barrier meeting(workers, [&] {
    seen->early += seen->arrived < workers * (seen->completed + 1) ? 1 : 0;
    ++seen->completed;
  });
  shared<record> done;
  const auto work = [&](int me) {
    for (;;) {
      try {
        const long before = seen->completed;
        ++seen->arrived;
        // Not for ever: one that is killed elsewhere is not known to be expected here.
        if (meeting.arrive_and_wait_for(200ms)) {
          seen->early += seen->completed == before ? 1 : 0;
          ++done->of[me];
        }
      } catch (const shoal::error&) {
        ++seen->broken;
        ++done->of[me];
        if (me == 0) {  // one alone: a reset breaks the phase of those who have begun anew
          meeting.reset();
        } else {
          std::this_thread::sleep_for(100us);
        }
      }
    }
  };
  const int killed = kill_at_random(kills_wanted() / 3, work, *done);
  EXPECT_EQ(seen->early, 0);
  EXPECT_GT(seen->completed, 0);
  std::printf("%d kills, %ld phases, %ld times found broken\n", killed, seen->completed.load(), seen->broken.load());
}

}  // namespace
