// A process is killed at every instruction of what wakes others. None may sleep on over what has happened.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <list>
#include <string>

#include "process_support.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"
#include "sync/binary_semaphore.hpp"
#include "sync/event.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::process;
using shoal::sync::binary_semaphore;
using shoal::sync::event;
using shoal::sync::wait_result;
using shoal::test::eventually;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::stepped_process;
using std::chrono::steady_clock;

// A sleeper looks once a second; the rest is for a busy machine with hundreds of them.
constexpr auto longest_sleep = 2500ms;

bool is_asleep(pid_t id) {
  std::ifstream stat("/proc/" + std::to_string(id) + "/stat");
  std::string line;
  std::getline(stat, line);
  const std::size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end + 2, 1, "S") == 0;
}

/// One that waits for something, and who was killed when about to make that happen.
template <class Object>
class waiter {
 public:
  waiter() {
    if constexpr (std::is_same_v<Object, binary_semaphore>) {
      (void)object_.try_acquire();
    }
    process_ = process([this] {
      times_->begun = true;
      const bool good = wait();
      times_->woken = steady_clock::now().time_since_epoch().count();
      return good ? 0 : 1;
    });
  }
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;
  ~waiter() {
    if (process_.joinable()) {
      process_.kill();
      (void)process_.join();
    }
  }

  [[nodiscard]] bool sleeps() const { return times_->begun && is_asleep(process_.id()); }

  /// @return how many instructions the victim ran.
  long kill_waker(const shoal::test::fate& planned) {
    stepped_process victim([this] { return wake(), true; }, planned);
    victim.join();
    killed_ = steady_clock::now();
    where_ = victim.where();
    return victim.instructions();
  }

  /// Expects that the waiter has woken in time, if there was reason to. @return how long it slept on.
  steady_clock::duration settle() {
    if (!process_.join_for(longest_sleep -
                           std::min<steady_clock::duration>(longest_sleep, steady_clock::now() - killed_))) {
      EXPECT_FALSE(has_happened()) << "still asleep; the waker was killed " << where_;
      wake();
      killed_ = steady_clock::now();
      if (!process_.join_for(longest_sleep)) {
        ADD_FAILURE() << "cannot be woken any more; the first waker was killed " << where_;
        return longest_sleep;
      }
    }
    const auto slept_on = steady_clock::time_point(steady_clock::duration(times_->woken)) - killed_;
    EXPECT_LE(slept_on, longest_sleep) << where_;
    return slept_on;
  }

 private:
  struct timing {
    std::atomic<bool> begun;
    std::atomic<steady_clock::rep> woken;
  };

  bool wait() {
    const shoal::deadline until = after(patience * 2);
    wait_result result{};
    do {
      if constexpr (std::is_same_v<Object, event>) {
        result = object_.wait_until(0, until);
      } else {
        result = object_.acquire_until(until);
      }
    } while (result == wait_result::interrupted);
    return result == wait_result::done;
  }

  void wake() {
    if constexpr (std::is_same_v<Object, event>) {
      object_.set();
    } else {
      object_.release();
    }
  }

  [[nodiscard]] bool has_happened() const {
    if constexpr (std::is_same_v<Object, event>) {
      return object_.is_set();
    } else {
      return object_.is_free();
    }
  }

  Object object_;
  shared<timing> times_;
  process process_;
  steady_clock::time_point killed_;
  std::string where_;
};

template <class Object>
class WaitersSurviveTheDeathOfTheirWaker : public testing::Test {};

using objects = testing::Types<binary_semaphore, event>;
TYPED_TEST_SUITE(WaitersSurviveTheDeathOfTheirWaker, objects);

TYPED_TEST(WaitersSurviveTheDeathOfTheirWaker, AtEveryInstruction) {
  if (!shoal::test::can_single_step) {
    GTEST_SKIP() << shoal::test::why_no_single_step;
  }
  waiter<TypeParam> first;
  ASSERT_TRUE(eventually([&] { return first.sleeps(); }));
  const long all = first.kill_waker({});
  first.settle();

  // All at a time: each may sleep for a second.
  std::list<waiter<TypeParam>> waiters(static_cast<std::size_t>(all));
  for (const auto& one : waiters) {
    ASSERT_TRUE(eventually([&] { return one.sleeps(); }));
  }
  long instructions = 0;
  for (auto& one : waiters) {
    one.kill_waker({.instructions = instructions++});
  }
  steady_clock::duration longest{};
  for (auto& one : waiters) {
    longest = std::max(longest, one.settle());
  }
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(longest).count();
  this->RecordProperty("kill_points", std::to_string(all));
  this->RecordProperty("longest_sleep_ms", std::to_string(milliseconds));
  std::printf("%ld kill points, the longest sleep afterwards took %ld ms\n", all, static_cast<long>(milliseconds));
}

}  // namespace
