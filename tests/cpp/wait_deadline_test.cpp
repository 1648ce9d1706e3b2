#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include "lock_support.hpp"
#include "shoal/barrier.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/event.hpp"
#include "shoal/latch.hpp"
#include "shoal/mutex.hpp"
#include "shoal/recursive_mutex.hpp"
#include "shoal/shared_mutex.hpp"

// All timed waits, with times that have passed, that are further away than any clock shows, and of clocks that are set.
namespace {

using namespace std::chrono_literals;
using shoal::condition_variable;
using shoal::mutex;
using shoal::process;
using shoal::test::eventually;
using shoal::test::in_child;
using shoal::test::is_asleep;
using shoal::test::shared;
using shoal::test::succeeds;
using std::chrono::file_clock;
using std::chrono::steady_clock;
using std::chrono::system_clock;

/// Shows what it was set to, in all processes.
struct settable_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<settable_clock>;
  static constexpr bool is_steady = false;

  struct state {
    std::atomic<rep> shown;
    std::atomic<int> looks;
  };
  static state& get() {
    static const shared<state> only;
    return *only;
  }
  static time_point now() {
    ++get().looks;
    return time_point(duration(get().shown));
  }
  static void set(duration shown) { get().shown = shown.count(); }
};

// What is waited for. Nobody gets it before open() was called.

template <class Mutex>
struct lock_wait {
  lock_wait() { guard.lock(); }
  ~lock_wait() {
    if (!opened) {
      guard.unlock();
    }
  }
  void open() {
    guard.unlock();
    opened = true;
  }
  bool wait_for(auto timeout) { return guard.try_lock_for(timeout); }
  bool wait_until(auto time) { return guard.try_lock_until(time); }
  Mutex guard;
  bool opened = false;
};

struct shared_lock_wait : lock_wait<shoal::shared_mutex> {
  bool wait_for(auto timeout) { return guard.try_lock_shared_for(timeout); }
  bool wait_until(auto time) { return guard.try_lock_shared_until(time); }
};

/// For the lock that readers have.
struct writer_wait {
  writer_wait() { guard.lock_shared(); }
  ~writer_wait() {
    if (!opened) {
      guard.unlock_shared();
    }
  }
  void open() {
    guard.unlock_shared();
    opened = true;
  }
  bool wait_for(auto timeout) { return guard.try_lock_for(timeout); }
  bool wait_until(auto time) { return guard.try_lock_until(time); }
  shoal::shared_mutex guard;
  bool opened = false;
};

struct semaphore_wait {
  void open() { units.release(); }
  bool wait_for(auto timeout) { return units.try_acquire_for(timeout); }
  bool wait_until(auto time) { return units.try_acquire_until(time); }
  shoal::counting_semaphore units{0};
};

struct event_wait {
  void open() { happened.set(); }
  bool wait_for(auto timeout) { return happened.wait_for(timeout); }
  bool wait_until(auto time) { return happened.wait_until(time); }
  shoal::event happened;
};

struct latch_wait {
  void open() { gate.count_down(); }
  bool wait_for(auto timeout) { return gate.wait_for(timeout); }
  bool wait_until(auto time) { return gate.wait_until(time); }
  shoal::latch gate{1};
};

struct predicate_wait {
  void open() {
    const std::scoped_lock lock(guard);
    ready->store(true);
    changed.notify_all();
  }
  [[nodiscard]] auto is_ready() const {
    return [this] { return ready->load(); };
  }
  bool wait_for(auto timeout) {
    std::unique_lock lock(guard);
    return changed.wait_for(lock, timeout, is_ready());
  }
  bool wait_until(auto time) {
    std::unique_lock lock(guard);
    return changed.wait_until(lock, time, is_ready());
  }
  mutex guard;
  condition_variable changed;
  shared<std::atomic<bool>> ready;
};

struct notification_wait {
  void open() {
    const std::scoped_lock lock(guard);
    changed.notify_all();
  }
  bool wait_for(auto timeout) {
    std::unique_lock lock(guard);
    return changed.wait_for(lock, timeout) == std::cv_status::no_timeout;
  }
  bool wait_until(auto time) {
    std::unique_lock lock(guard);
    return changed.wait_until(lock, time) == std::cv_status::no_timeout;
  }
  mutex guard;
  condition_variable changed;
};

struct barrier_wait {
  void open() { (void)meeting.arrive_and_wait_for(shoal::test::patience); }
  bool wait_for(auto timeout) { return meeting.arrive_and_wait_for(timeout); }
  shoal::barrier<> meeting{2};
};

template <class Wait>
constexpr const char* name_of = "";
template <>
constexpr const char* name_of<lock_wait<mutex>> = "Mutex";
template <>
constexpr const char* name_of<lock_wait<shoal::recursive_mutex>> = "RecursiveMutex";
template <>
constexpr const char* name_of<lock_wait<shoal::shared_mutex>> = "SharedMutex";
template <>
constexpr const char* name_of<shared_lock_wait> = "SharedMutexOfAWriter";
template <>
constexpr const char* name_of<writer_wait> = "SharedMutexOfAReader";
template <>
constexpr const char* name_of<semaphore_wait> = "CountingSemaphore";
template <>
constexpr const char* name_of<event_wait> = "Event";
template <>
constexpr const char* name_of<latch_wait> = "Latch";
template <>
constexpr const char* name_of<predicate_wait> = "ConditionVariableWithAPredicate";
template <>
constexpr const char* name_of<notification_wait> = "ConditionVariable";
template <>
constexpr const char* name_of<barrier_wait> = "Barrier";

struct names {
  template <class Wait>
  static std::string GetName(int) {
    return name_of<Wait>;
  }
};

/// A timed wait, and how its time was given.
template <class Wait>
struct kind {
  const char* name;
  std::function<bool(Wait&)> wait;
};
template <class Wait>
using kinds = std::vector<kind<Wait>>;

template <class Wait>
kinds<Wait> waits_whose_time_is_over() {
  using seconds = std::chrono::duration<double>;
  kinds<Wait> all = {
      {"for 0", [](Wait& wait) { return wait.wait_for(0ns); }},
      {"for -1 ns", [](Wait& wait) { return wait.wait_for(-1ns); }},
      {"for the least nanoseconds", [](Wait& wait) { return wait.wait_for(std::chrono::nanoseconds::min()); }},
      {"for the least hours", [](Wait& wait) { return wait.wait_for(std::chrono::hours::min()); }},
      {"for a negative fraction", [](Wait& wait) { return wait.wait_for(seconds(-0.5)); }},
      {"for no number", [](Wait& wait) { return wait.wait_for(seconds(std::numeric_limits<double>::quiet_NaN())); }},
  };
  if constexpr (!std::is_same_v<Wait, barrier_wait>) {
    all.insert(
        all.end(),
        {
            {"until no_waiting", [](Wait& wait) { return wait.wait_until(shoal::no_waiting); }},
            {"until an hour ago", [](Wait& wait) { return wait.wait_until(steady_clock::now() - 1h); }},
            {"until now", [](Wait& wait) { return wait.wait_until(steady_clock::now()); }},
            {"until the epoch", [](Wait& wait) { return wait.wait_until(steady_clock::time_point()); }},
            {"until the earliest date", [](Wait& wait) { return wait.wait_until(system_clock::time_point::min()); }},
            {"until a date an hour ago", [](Wait& wait) { return wait.wait_until(system_clock::now() - 1h); }},
            {"until a second that is over",
             [](Wait& wait) { return wait.wait_until(std::chrono::floor<std::chrono::seconds>(system_clock::now())); }},
            {"until the earliest second", [](Wait& wait) { return wait.wait_until(std::chrono::sys_seconds::min()); }},
            {"until the earliest time of a file",
             [](Wait& wait) { return wait.wait_until(file_clock::time_point::min()); }},
        });
  }
  return all;
}

template <class Wait>
kinds<Wait> waits_that_nothing_ends_in_time() {
  using seconds = std::chrono::duration<double>;
  kinds<Wait> all = {
      {"for the most nanoseconds", [](Wait& wait) { return wait.wait_for(std::chrono::nanoseconds::max()); }},
      {"for the most hours", [](Wait& wait) { return wait.wait_for(std::chrono::hours::max()); }},
      {"for more seconds than there are", [](Wait& wait) { return wait.wait_for(seconds(1e300)); }},
      {"for infinite seconds",
       [](Wait& wait) { return wait.wait_for(seconds(std::numeric_limits<double>::infinity())); }},
  };
  if constexpr (!std::is_same_v<Wait, barrier_wait>) {
    all.insert(
        all.end(),
        {
            {"until forever", [](Wait& wait) { return wait.wait_until(shoal::forever); }},
            {"until the last date", [](Wait& wait) { return wait.wait_until(system_clock::time_point::max()); }},
            {"until the last time of a file",
             [](Wait& wait) { return wait.wait_until(file_clock::time_point::max()); }},
            {"until the last second", [](Wait& wait) { return wait.wait_until(std::chrono::sys_seconds::max()); }},
            {"until the last hour",
             [](Wait& wait) {
               return wait.wait_until(std::chrono::time_point<steady_clock, std::chrono::hours>::max());
             }},
            {"until an hour from now", [](Wait& wait) { return wait.wait_until(system_clock::now() + 1h); }},
        });
  }
  return all;
}

/// Until what waits in `child` is asleep, or `has_ended`.
bool falls_asleep(const process& child, const std::atomic<int>& stage) {
  return eventually([&] { return stage == 2 || (stage == 1 && is_asleep(child.id())); }) && stage == 1;
}

template <class Wait>
class TimedWait : public testing::Test {};
using all_waits = testing::Types<lock_wait<mutex>, lock_wait<shoal::recursive_mutex>, lock_wait<shoal::shared_mutex>,
                                 shared_lock_wait, writer_wait, semaphore_wait, event_wait, latch_wait, predicate_wait,
                                 notification_wait, barrier_wait>;
TYPED_TEST_SUITE(TimedWait, all_waits, names);

TYPED_TEST(TimedWait, IsOverWhereItsTimeIsOver) {
  for (const kind<TypeParam>& timed : waits_whose_time_is_over<TypeParam>()) {
    TypeParam closed;
    ASSERT_TRUE(in_child([&] { return !timed.wait(closed); })) << timed.name;
  }
}

TYPED_TEST(TimedWait, WithAFarTimeLastsUntilItIsFulfilled) {
  for (const kind<TypeParam>& timed : waits_that_nothing_ends_in_time<TypeParam>()) {
    TypeParam closed;
    const shared<std::atomic<int>> stage;
    process child([&] {
      stage->store(1);
      const bool fulfilled = timed.wait(closed);
      stage->store(2);
      return fulfilled ? 0 : 1;
    });
    EXPECT_TRUE(falls_asleep(child, *stage)) << timed.name;
    closed.open();
    ASSERT_TRUE(succeeds(child)) << timed.name;
  }
}

/// Waits for something that, once there, is there for whoever comes.
template <class Wait>
class TimedWaitForALastingThing : public testing::Test {};
using lasting_waits =
    testing::Types<lock_wait<mutex>, lock_wait<shoal::recursive_mutex>, lock_wait<shoal::shared_mutex>,
                   shared_lock_wait, writer_wait, semaphore_wait, event_wait, latch_wait, predicate_wait>;
TYPED_TEST_SUITE(TimedWaitForALastingThing, lasting_waits, names);

TYPED_TEST(TimedWaitForALastingThing, FindsWhatIsThereHoweverLongItsTimeIsOver) {
  for (const kind<TypeParam>& timed : waits_whose_time_is_over<TypeParam>()) {
    TypeParam opened;
    opened.open();
    ASSERT_TRUE(in_child([&] { return timed.wait(opened); })) << timed.name;
  }
}

TYPED_TEST(TimedWaitForALastingThing, OnAClockThatStandsGoesOnUntilThatShowsTheTime) {
  TypeParam closed;
  settable_clock::set(0s);
  settable_clock::get().looks = 0;
  process child([&] { return closed.wait_until(settable_clock::time_point(1ms)) ? 1 : 0; });
  // It has looked at the clock again and again, each time after the time that was left.
  EXPECT_TRUE(eventually([] { return settable_clock::get().looks >= 8; }));
  EXPECT_FALSE(child.join_for(0s));
  settable_clock::set(1ms);
  EXPECT_TRUE(succeeds(child));
}

TYPED_TEST(TimedWaitForALastingThing, OnAClockThatWasSetBackFindsWhatComesThen) {
  TypeParam closed;
  settable_clock::set(1h);
  settable_clock::get().looks = 0;
  process child([&] { return closed.wait_until(settable_clock::time_point(1h + 1ms)) ? 0 : 1; });
  EXPECT_TRUE(eventually([] { return settable_clock::get().looks >= 1; }));
  settable_clock::set(0s);
  EXPECT_TRUE(eventually([&] { return is_asleep(child.id()); }));
  closed.open();
  EXPECT_TRUE(succeeds(child));
}

TEST(TimedWaitForANotification, IsNotBegunAgainBeforeTheCallerHasLooked) {
  // What the caller waits for comes after its time is over and before it has locked again; then the clock is set back.
  struct slow_lock {
    void lock() {
      if (locked_again) {
        settable_clock::set(-1h);
        guard.lock();
        *ready = true;
        guard.unlock();
        changed->notify_all();
      }
      locked_again = true;
      guard.lock();
    }
    void unlock() { guard.unlock(); }

    condition_variable* changed;
    bool* ready;
    mutex guard{};
    bool locked_again = false;
  };
  EXPECT_TRUE(in_child([] {
    condition_variable changed;
    bool ready = false;
    settable_clock::set(0s);
    slow_lock lock{&changed, &ready};
    lock.lock();
    return changed.wait_until(lock, settable_clock::time_point(1ms), [&] { return ready; });
  }));
}

TEST(TimedWaitForANotification, OnAClockThatStandsReturnsAsIfNotified) {
  EXPECT_TRUE(in_child([] {
    mutex guard;
    condition_variable changed;
    settable_clock::set(0s);
    std::unique_lock lock(guard);
    return changed.wait_until(lock, settable_clock::time_point(1ms)) == std::cv_status::no_timeout &&
           changed.wait_until(lock, settable_clock::time_point(0s)) == std::cv_status::timeout;
  }));
}

}  // namespace
