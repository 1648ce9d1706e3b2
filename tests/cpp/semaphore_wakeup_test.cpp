#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "sync/semaphore.hpp"
#include "sync/wait.hpp"

// Whoever sleeps for a unit is woken when there is one. Who was forgotten would look for itself after a second, so that
// nothing here would hang: each test does what it does so often that seconds would become more than anybody waits.
namespace {

using shoal::forever;
using shoal::sync::semaphore;
using shoal::sync::semaphore_state;
using shoal::sync::wait_result;
using shoal::test::eventually;
using shoal::test::sleep_at;

constexpr int rounds = 60;

/// Threads that take a unit in each round.
class takers {
 public:
  explicit takers(int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this] {
        for (int round = 1; round <= rounds && !stopped_; ++round) {
          while (units.acquire_until(forever) != wait_result::done) {
          }
          ++taken_;
          (void)eventually([&] { return round_ >= round || stopped_; });
        }
      });
    }
  }
  takers(const takers&) = delete;
  takers& operator=(const takers&) = delete;
  ~takers() {
    stopped_ = true;
    (void)units.release(static_cast<std::uint32_t>(threads_.size()));
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

  /// Whether all sleep, and each gets one of the units that `release` makes as many as they are.
  template <class Release>
  bool all_get_theirs(shoal::deadline until, Release release) {
    const int count = static_cast<int>(threads_.size());
    taken_ = 0;
    if (!sleep_at(units.slot(), count)) {
      return false;
    }
    release();
    while (taken_ != count) {
      if (std::chrono::steady_clock::now() >= until) {
        return false;
      }
      std::this_thread::yield();
    }
    ++round_;
    return true;
  }

  semaphore units{0, semaphore::most_units};

 private:
  std::atomic<int> taken_{0};
  std::atomic<int> round_{0};
  std::atomic<bool> stopped_{false};
  std::vector<std::thread> threads_;
};

TEST(SemaphoreWakeUp, ReachesAllForWhomUnitsAreReleasedOneAfterTheOther) {
  takers sleepers(2);
  const shoal::deadline until = shoal::after(shoal::test::patience);
  for (int round = 0; round < rounds; ++round) {
    ASSERT_TRUE(sleepers.all_get_theirs(until,
                                        [&] {
                                          EXPECT_TRUE(sleepers.units.release());
                                          EXPECT_TRUE(sleepers.units.release());
                                        }))
        << "in round " << round;
  }
}

TEST(SemaphoreWakeUp, ReachesAllForWhomUnitsAreReleasedTogether) {
  takers sleepers(3);
  const shoal::deadline until = shoal::after(shoal::test::patience);
  for (int round = 0; round < rounds; ++round) {
    ASSERT_TRUE(sleepers.all_get_theirs(until,
                                        [&] {
                                          EXPECT_TRUE(sleepers.units.release());
                                          EXPECT_TRUE(sleepers.units.release(2));
                                        }))
        << "in round " << round;
  }
}

TEST(SemaphoreWakeUp, IsNotUsedUpByAReleaseOfNothing) {
  semaphore units(0, 1);
  auto& word = units.slot().as<semaphore_state>().word;
  word = semaphore_state::asleep;  // as one leaves it who sleeps
  EXPECT_TRUE(units.release(0));
  EXPECT_EQ(word, semaphore_state::asleep);
  EXPECT_TRUE(units.release(1));
  EXPECT_EQ(word, semaphore_state::one_unit);
}

}  // namespace
