// Who sleeps is woken by what happens. The clock, by which all look around once a second, is for what the dead have
// left undone; here nobody dies, so nobody may have to wait for it.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "lock_support.hpp"
#include "shoal/barrier.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"
#include "shoal/latch.hpp"
#include "shoal/mutex.hpp"
#include "shoal/shared_mutex.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process;
using shoal::test::is_asleep;
using shoal::test::shared;
using shoal::test::succeeds;
using std::chrono::steady_clock;

/// Lets `count` processes fall asleep in `wait`, one after the other, calls `wake`, and expects that all wake up: each
/// time of several within what is less than half the clock's second on average.
template <class Make, class Wait, class Wake>
void expect_woken_without_the_clock(int count, Make make, Wait wait, Wake wake) {
  constexpr int rounds = 8;
  steady_clock::duration slept_on{};
  for (int round = 0; round < rounds; ++round) {
    auto object = make();
    std::vector<process> sleepers;
    for (int i = 0; i < count; ++i) {
      shared<std::atomic<bool>> begun;
      sleepers.emplace_back([&] {
        begun->store(true);
        wait(*object);
      });
      ASSERT_TRUE(shoal::test::eventually([&] { return begun->load() && is_asleep(sleepers.back().id()); }));
    }
    const auto begin = steady_clock::now();
    wake(*object);
    for (process& one : sleepers) {
      ASSERT_TRUE(succeeds(one));
    }
    slept_on += steady_clock::now() - begin;
  }
  EXPECT_LT(slept_on, rounds * 450ms) << "the clock must have woken them";
}

template <class T, class... Args>
auto maker(Args... args) {
  return [=] { return std::make_unique<T>(args...); };
}

TEST(WakeUp, OfThoseWhoWaitForAMutexComesFromTheHolderBefore) {
  const auto locked = [] {
    auto guard = std::make_unique<shoal::mutex>();
    guard->lock();
    return guard;
  };
  const auto lock = [](shoal::mutex& guard) { const std::scoped_lock mine(guard); };
  expect_woken_without_the_clock(3, locked, lock, [](shoal::mutex& guard) { guard.unlock(); });
}

TEST(WakeUp, OfReadersAndWritersComesFromTheWriterBefore) {
  const auto locked = [] {
    auto guard = std::make_unique<shoal::shared_mutex>();
    guard->lock();
    return guard;
  };
  const auto lock = [](shoal::shared_mutex& guard) {
    if (::getpid() % 2 == 0) {
      const std::shared_lock mine(guard);
    } else {
      const std::unique_lock mine(guard);
    }
  };
  expect_woken_without_the_clock(3, locked, lock, [](shoal::shared_mutex& guard) { guard.unlock(); });
  const auto read = [](shoal::shared_mutex& guard) { const std::shared_lock mine(guard); };
  expect_woken_without_the_clock(3, locked, read, [](shoal::shared_mutex& guard) { guard.unlock(); });
}

TEST(WakeUp, OfAWriterComesFromTheLastReader) {
  const auto shared_by_me = [] {
    auto guard = std::make_unique<shoal::shared_mutex>();
    guard->lock_shared();
    return guard;
  };
  const auto write = [](shoal::shared_mutex& guard) { const std::scoped_lock mine(guard); };
  expect_woken_without_the_clock(2, shared_by_me, write, [](shoal::shared_mutex& guard) { guard.unlock_shared(); });
}

TEST(WakeUp, OfThoseWhoWaitForUnitsComesFromTheRelease) {
  const auto acquire = [](shoal::counting_semaphore& units) { units.acquire(); };
  expect_woken_without_the_clock(3, maker<shoal::counting_semaphore>(0), acquire,
                                 [](shoal::counting_semaphore& units) { units.release(3); });
  expect_woken_without_the_clock(3, maker<shoal::counting_semaphore>(0), acquire, [](shoal::counting_semaphore& units) {
    for (int i = 0; i < 3; ++i) {
      units.release();
    }
  });
  const auto pass = [](shoal::counting_semaphore& units) {
    units.acquire();
    units.release();
  };
  expect_woken_without_the_clock(3, maker<shoal::counting_semaphore>(0), pass,
                                 [](shoal::counting_semaphore& units) { units.release(); });
}

TEST(WakeUp, OfThoseWhoWaitForAnEventComesFromSet) {
  const auto wait = [](shoal::event& ready) { ready.wait(); };
  expect_woken_without_the_clock(3, maker<shoal::event>(), wait, [](shoal::event& ready) { ready.set(); });
}

TEST(WakeUp, OfThoseWhoWaitForALatchComesFromTheLastCount) {
  const auto wait = [](shoal::latch& ready) { ready.wait(); };
  expect_woken_without_the_clock(3, maker<shoal::latch>(2), wait, [](shoal::latch& ready) {
    ready.count_down();
    ready.count_down();
  });
}

TEST(WakeUp, OfThoseAtABarrierComesFromTheLastToArrive) {
  const auto meet = [](shoal::barrier<>& meeting) { meeting.arrive_and_wait(); };
  expect_woken_without_the_clock(3, maker<shoal::barrier<>>(4), meet, meet);
}

TEST(WakeUp, OfThoseAtABarrierComesFromWhoBreaksOrResetsIt) {
  const auto meet = [](shoal::barrier<>& meeting) {
    EXPECT_EQ(shoal::test::code_of([&] { meeting.arrive_and_wait(); }), shoal::errc::broken_barrier);
  };
  expect_woken_without_the_clock(2, maker<shoal::barrier<>>(4), meet,
                                 [](shoal::barrier<>& meeting) { meeting.abort(); });
  expect_woken_without_the_clock(2, maker<shoal::barrier<>>(4), meet,
                                 [](shoal::barrier<>& meeting) { meeting.reset(); });
}

TEST(WakeUp, OfWaitersForAConditionComesFromTheNotification) {
  struct monitor {
    shoal::mutex guard;
    shoal::condition_variable changed;
  };
  const auto wait = [](monitor& one) {
    std::unique_lock lock(one.guard);
    one.changed.wait(lock);
  };
  expect_woken_without_the_clock(3, maker<monitor>(), wait, [](monitor& one) { one.changed.notify_all(); });
  expect_woken_without_the_clock(3, maker<monitor>(), wait, [](monitor& one) {
    for (int i = 0; i < 3; ++i) {
      one.changed.notify_one();
    }
  });
}

}  // namespace
