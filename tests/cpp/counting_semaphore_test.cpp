#include "shoal/counting_semaphore.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <vector>

#include "lock_support.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::counting_semaphore;
using shoal::process;
using shoal::memory::slot_kind;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::succeeds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

TEST(CountingSemaphore, LetsAsManyInAsItHasUnits) {
  counting_semaphore rooms(2);
  EXPECT_EQ(rooms.value(), 2);
  rooms.acquire();
  EXPECT_TRUE(rooms.try_acquire());
  EXPECT_FALSE(rooms.try_acquire());
  EXPECT_EQ(rooms.value(), 0);
  rooms.release();
  EXPECT_TRUE(rooms.try_acquire());
}

TEST(CountingSemaphore, NeverLetsMoreInFromAnyProcess) {
  counting_semaphore rooms(2);
  struct counts {
    std::atomic<int> inside;
    std::atomic<int> too_many;
  };
  shared<counts> seen;
  std::vector<process> guests;
  for (int i = 0; i < 4; ++i) {
    guests.emplace_back([&] {
      for (int round = 0; round < 2'000; ++round) {
        rooms.acquire();
        seen->too_many += ++seen->inside > 2 ? 1 : 0;
        --seen->inside;
        rooms.release();
      }
    });
  }
  for (process& guest : guests) {
    EXPECT_TRUE(succeeds(guest));
  }
  EXPECT_EQ(seen->too_many, 0);
  EXPECT_EQ(rooms.value(), 2);
}

TEST(CountingSemaphore, MayBeReleasedByAnybody) {
  counting_semaphore gate(0);
  process other([&] { gate.release(); });
  gate.acquire();
  EXPECT_TRUE(succeeds(other));
}

TEST(CountingSemaphore, WakesOneForEachUnit) {
  counting_semaphore gate(0);
  shared<std::atomic<int>> passed;
  std::vector<process> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.emplace_back([&] {
      gate.acquire();
      ++*passed;
    });
  }
  ASSERT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(gate, slot_kind::semaphore), 4));
  gate.release(3);
  EXPECT_TRUE(shoal::test::eventually([&] { return passed->load() == 3; }));
  EXPECT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(gate, slot_kind::semaphore), 1));
  gate.release();
  for (process& one : waiting) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(gate.value(), 0);
}

TEST(CountingSemaphore, GivesUpAtItsTime) {
  counting_semaphore gate(0);
  const auto begin = steady_clock::now();
  EXPECT_FALSE(gate.try_acquire_for(20ms));
  EXPECT_GE(steady_clock::now() - begin, 20ms);
  EXPECT_FALSE(gate.try_acquire_until(steady_clock::now() + 5ms));
  EXPECT_FALSE(gate.try_acquire_until(system_clock::now() + 5ms));
  EXPECT_FALSE(gate.try_acquire_for(0ms));
  gate.release(3);
  EXPECT_TRUE(gate.try_acquire_for(patience));
  EXPECT_TRUE(gate.try_acquire_for(0ms));
  EXPECT_TRUE(gate.try_acquire_until(system_clock::now() + patience));
}

TEST(CountingSemaphore, RefusesAReleaseTooMany) {
  counting_semaphore one(1, 1);
  EXPECT_THROW(one.release(), std::invalid_argument);
  one.acquire();
  EXPECT_THROW(one.release(2), std::invalid_argument);
  EXPECT_THROW(one.release(-1), std::invalid_argument);
  one.release(0);
  EXPECT_EQ(one.value(), 0);
  one.release();
  EXPECT_EQ(one.value(), 1);
}

TEST(CountingSemaphore, CountsUpToItsMaximum) {
  constexpr auto most = counting_semaphore::max();
  counting_semaphore full(most);
  EXPECT_EQ(full.value(), most);
  EXPECT_THROW(full.release(), std::invalid_argument);
  EXPECT_THROW(full.release(most), std::invalid_argument);
  EXPECT_TRUE(full.try_acquire());
  full.release();
  EXPECT_THROW(full.release(most + 1), std::invalid_argument);
}

TEST(CountingSemaphore, RefusesImpossibleNumbers) {
  EXPECT_THROW(counting_semaphore(-1), std::invalid_argument);
  EXPECT_THROW(counting_semaphore(2, 1), std::invalid_argument);
  EXPECT_THROW(counting_semaphore(0, -1), std::invalid_argument);
  EXPECT_THROW(counting_semaphore(0, counting_semaphore::max() + 1), std::invalid_argument);
}

TEST(CountingSemaphore, AHolderThatIsKilledKeepsItsUnit) {
  counting_semaphore rooms(2);
  process victim([&] {
    rooms.acquire();
    ::raise(SIGKILL);
  });
  (void)victim.join();
  EXPECT_EQ(rooms.value(), 1);
  rooms.release();
  EXPECT_EQ(rooms.value(), 2);
}

TEST(CountingSemaphore, AWaiterThatIsKilledTakesNothing) {
  counting_semaphore gate(0);
  process victim([&] { gate.acquire(); });
  process other([&] { gate.acquire(); });
  ASSERT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(gate, slot_kind::semaphore), 2));
  victim.kill();
  (void)victim.join();
  gate.release();
  EXPECT_TRUE(succeeds(other));
  EXPECT_EQ(gate.value(), 0);
}

TEST(CountingSemaphore, IsFoundByItsHandle) {
  counting_semaphore one(1, 3);
  counting_semaphore same(one.native_handle());
  EXPECT_TRUE(same.try_acquire());
  EXPECT_FALSE(one.try_acquire());
  EXPECT_THROW(same.release(4), std::invalid_argument);
  shoal::event stranger;
  EXPECT_THROW(counting_semaphore(stranger.native_handle()), shoal::error);
}

}  // namespace
