#include "shoal/condition_variable.hpp"

#include <gtest/gtest.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"
#include "shoal/mutex.hpp"
#include "shoal/recursive_mutex.hpp"
#include "shoal/shared_mutex.hpp"
#include "sync/wait_line.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::condition_variable;
using shoal::mutex;
using shoal::process;
using shoal::test::code_of;
using shoal::test::dead_told_by;
using shoal::test::eventually;
using shoal::test::in_child;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::succeeds;
using std::chrono::steady_clock;

/// A condition variable, its mutex, and processes that wait there one after the other.
class waiting_room {
 public:
  /// Starts one more. @return its number, once it waits.
  int admit() {
    const auto number = static_cast<int>(guests_.size());
    guests_.emplace_back([this] {
      std::unique_lock lock(guard);
      changed.wait(lock);
      order_->last = ++order_->woken;
      order_->places[order_->woken - 1] = ::getpid();
    });
    EXPECT_TRUE(eventually([&] { return waiting() == number + 1 - gone_; }));
    return number;
  }
  ~waiting_room() {
    for (process& guest : guests_) {
      if (guest.joinable()) {
        guest.kill();
        (void)guest.join();
      }
    }
  }

  /// How many wait and were not notified.
  int waiting() { return static_cast<int>(line_.size()); }
  [[nodiscard]] int woken() const { return order_->woken; }
  [[nodiscard]] bool wakes(int count) const {
    return eventually([&] { return woken() >= count; });
  }

  /// Which of them was the n-th to wake.
  int woken_as(int n) {
    for (std::size_t guest = 0; guest < guests_.size(); ++guest) {
      if (ids_[guest] == order_->places[n]) {
        return static_cast<int>(guest);
      }
    }
    return -1;
  }
  void note_ids() {
    for (process& guest : guests_) {
      ids_.push_back(guest.id());
    }
  }
  void kill(int number) {
    guests_[static_cast<std::size_t>(number)].kill();
    (void)guests_[static_cast<std::size_t>(number)].join();
    ++gone_;
  }
  bool join(int number) { return succeeds(guests_[static_cast<std::size_t>(number)]); }
  bool stays_asleep(int number) { return !guests_[static_cast<std::size_t>(number)].join_for(20ms); }

  mutex guard;
  condition_variable changed;

 private:
  struct record {
    std::atomic<int> woken;
    std::atomic<int> last;
    std::atomic<pid_t> places[16];
  };
  shared<record> order_;
  shoal::sync::wait_line line_{changed.native_handle()};
  std::vector<process> guests_;
  std::vector<pid_t> ids_;
  int gone_ = 0;
};

TEST(ConditionVariable, WakesOneForEachNotification) {
  waiting_room room;
  for (int i = 0; i < 3; ++i) {
    room.admit();
  }
  for (int i = 1; i <= 3; ++i) {
    room.changed.notify_one();
    EXPECT_EQ(room.waiting(), 3 - i);
    EXPECT_TRUE(room.wakes(i));
    EXPECT_EQ(room.woken(), i);
  }
}

TEST(ConditionVariable, WakesThemFirstComeFirstServed) {
  waiting_room room;
  for (int i = 0; i < 4; ++i) {
    room.admit();
  }
  room.note_ids();
  for (int i = 0; i < 4; ++i) {
    room.changed.notify_one();
    EXPECT_TRUE(room.wakes(i + 1));
    EXPECT_EQ(room.woken_as(i), i);
  }
}

TEST(ConditionVariable, GivesNobodyWhoComesLaterWhatWasForAnother) {
  waiting_room room;
  std::unique_lock lock(room.guard);  // so that who is notified cannot go on yet
  lock.unlock();
  const int first = room.admit();
  lock.lock();
  room.changed.notify_one();
  // A later one waits while the notified one has not got the mutex. Notified or not is decided already.
  std::thread later([&] {
    std::unique_lock mine(room.guard);
    room.changed.wait(mine);
  });
  lock.unlock();
  EXPECT_TRUE(room.join(first));
  EXPECT_TRUE(eventually([&] { return room.waiting() == 1; }));
  room.changed.notify_one();
  later.join();
}

TEST(ConditionVariable, WakesAllOfThemAtOnce) {
  waiting_room room;
  for (int i = 0; i < 5; ++i) {
    room.admit();
  }
  room.changed.notify_all();
  EXPECT_EQ(room.waiting(), 0);
  EXPECT_TRUE(room.wakes(5));
}

TEST(ConditionVariable, RemembersNoNotificationForWhoComesLater) {
  mutex guard;
  condition_variable changed;
  changed.notify_one();
  changed.notify_all();
  std::unique_lock lock(guard);
  EXPECT_EQ(changed.wait_for(lock, 5ms), std::cv_status::timeout);
}

TEST(ConditionVariable, GivesUpAtItsTimeWithTheMutexHeld) {
  mutex guard;
  condition_variable changed;
  std::unique_lock lock(guard);
  const auto begin = steady_clock::now();
  EXPECT_EQ(changed.wait_for(lock, 20ms), std::cv_status::timeout);
  EXPECT_GE(steady_clock::now() - begin, 20ms);
  EXPECT_EQ(changed.wait_until(lock, steady_clock::now() + 5ms), std::cv_status::timeout);
  EXPECT_EQ(changed.wait_until(lock, std::chrono::system_clock::now() + 5ms), std::cv_status::timeout);
  EXPECT_EQ(changed.wait_for(lock, 0ms), std::cv_status::timeout);
  EXPECT_FALSE(changed.wait_for(lock, 5ms, [] { return false; }));
  EXPECT_FALSE(changed.wait_until(lock, std::chrono::system_clock::now() + 5ms, [] { return false; }));
  EXPECT_TRUE(changed.wait_for(lock, 0ms, [] { return true; }));
  EXPECT_EQ(guard.holder()->thread, ::gettid());
}

TEST(ConditionVariable, OneWhoGaveUpGetsNoNotification) {
  waiting_room room;
  {
    std::unique_lock lock(room.guard);
    EXPECT_EQ(room.changed.wait_for(lock, 5ms), std::cv_status::timeout);
  }
  const int other = room.admit();
  room.changed.notify_one();
  EXPECT_TRUE(room.join(other));
}

TEST(ConditionVariable, HandsOverBetweenProcessesAsOftenAsAsked) {
  mutex guard;
  condition_variable changed;
  shared<int> turn;
  constexpr int rounds = 5'000;
  const auto play = [&](int me) {
    std::unique_lock lock(guard);
    for (int i = 0; i < rounds; ++i) {
      changed.wait(lock, [&] { return *turn == me; });
      *turn = 1 - me;
      changed.notify_one();
    }
  };
  process other([&] { play(1); });
  play(0);
  EXPECT_TRUE(succeeds(other));
}

TEST(ConditionVariable, WaitsWithAPredicateUntilItHolds) {
  mutex guard;
  condition_variable changed;
  shared<int> value;
  process other([&] {
    std::unique_lock lock(guard);
    changed.wait(lock, [&] { return *value >= 10; });
    const bool in_time = changed.wait_for(lock, patience, [&] { return *value == 20; });
    return in_time ? 0 : 1;
  });
  for (int i = 1; i <= 20; ++i) {
    const std::scoped_lock lock(guard);
    ++*value;
    changed.notify_all();
  }
  EXPECT_TRUE(succeeds(other));
}

TEST(ConditionVariable, ProducersAndConsumersLoseNothing) {
  mutex guard;
  condition_variable filled;
  condition_variable emptied;
  struct store {
    int items;
    int taken;
  };
  shared<store> kept;
  constexpr int each = 2'000;
  std::vector<process> running;
  for (int p = 0; p < 2; ++p) {
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        std::unique_lock lock(guard);
        emptied.wait(lock, [&] { return kept->items < 3; });
        ++kept->items;
        filled.notify_one();
      }
    });
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        std::unique_lock lock(guard);
        filled.wait(lock, [&] { return kept->items > 0; });
        --kept->items;
        ++kept->taken;
        emptied.notify_one();
      }
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(kept->taken, 2 * each);
}

TEST(ConditionVariable, WorksWithEveryLock) {
  condition_variable changed;
  shared<std::atomic<bool>> ready;
  const auto try_with = [&](auto lock) {
    ready->store(false);
    std::thread notifier([&] {
      shoal::sync::wait_line line(changed.native_handle());
      eventually([&] { return line.size() == 1; });
      ready->store(true);
      changed.notify_one();
    });
    changed.wait(lock, [&] { return ready->load(); });
    EXPECT_TRUE(lock.owns_lock());
    notifier.join();
  };
  mutex plain;
  shoal::recursive_mutex recursive;
  shoal::shared_mutex many;
  std::mutex local;
  try_with(std::unique_lock(plain));
  try_with(std::unique_lock(recursive));
  try_with(std::unique_lock(many));
  try_with(std::shared_lock(many));
  try_with(std::unique_lock(local));
}

TEST(ConditionVariable, NeedsALockThatIsHeld) {
  mutex guard;
  condition_variable changed;
  EXPECT_EQ(code_of([&] { changed.wait(guard); }), std::errc::operation_not_permitted);
  EXPECT_FALSE(guard.holder());
  EXPECT_EQ(shoal::sync::wait_line(changed.native_handle()).size(), 0U);
}

TEST(ConditionVariable, IsFoundByItsHandle) {
  waiting_room room;
  const int guest = room.admit();
  const auto handle = room.changed.native_handle();
  const auto copy = shoal::os::file_descriptor::duplicate(handle.arena);
  condition_variable same({copy.get(), handle.index});
  same.notify_one();
  EXPECT_TRUE(room.join(guest));
  shoal::event other;
  EXPECT_THROW(condition_variable(other.native_handle()), shoal::error);
}

TEST(ConditionVariable, AKilledWaiterSwallowsNoNotification) {
  waiting_room room;
  room.kill(room.admit());
  const int living = room.admit();
  room.changed.notify_one();
  EXPECT_TRUE(room.join(living));
}

TEST(ConditionVariable, ANotificationOfOneWhoIsKilledGoesToAnother) {
  waiting_room room;
  const int first = room.admit();
  const int second = room.admit();
  {
    // Notified, but without the mutex it cannot go on: its notification was not used.
    const std::scoped_lock lock(room.guard);
    room.changed.notify_one();
    EXPECT_EQ(room.waiting(), 1);
    room.kill(first);
  }
  EXPECT_TRUE(room.join(second));
  EXPECT_EQ(room.woken(), 1);
}

TEST(ConditionVariable, TheNextNotificationPassesOnThatOfADeadOneAtOnce) {
  waiting_room room;
  const int first = room.admit();
  const int second = room.admit();
  const int third = room.admit();
  {
    const std::scoped_lock lock(room.guard);
    room.changed.notify_one();
    room.kill(first);
    room.changed.notify_one();  // passes on the first one's to the second, and is for the third itself
    EXPECT_EQ(room.waiting(), 0);
  }
  EXPECT_TRUE(room.join(second));
  EXPECT_TRUE(room.join(third));
}

TEST(ConditionVariable, ANotificationOfADeadOneIsPassedOnByWhoTakesItsPlaceAmongTheThreads) {
  waiting_room room;
  const int first = room.admit();
  room.admit();
  const std::scoped_lock lock(room.guard);
  room.changed.notify_one();
  room.kill(first);
  mutex other;
  EXPECT_TRUE(in_child([&] {  // is not known yet, and gets the record of the first
    const std::scoped_lock mine(other);
    return room.waiting() == 0;
  }));
}

TEST(ConditionVariable, ANotificationThatAWaiterWasNotToldOfIsPassedOn) {
  shoal::sync::wait_line line;
  auto unaware = std::make_unique<shoal::sync::wait_line::place>(line);
  shoal::sync::wait_line::place next(line);
  EXPECT_EQ(line.notify(1), 1U);
  EXPECT_EQ(line.size(), 1U);
  unaware.reset();  // as after an exception: it has not waited
  EXPECT_EQ(line.size(), 0U);
  EXPECT_EQ(next.wait_until(shoal::no_waiting), shoal::sync::wait_result::done);
}

TEST(ConditionVariable, ANotificationIsPassedOnAlsoWhereSignalsInterruptTheWait) {
  mutex guard;
  condition_variable changed;
  shoal::sync::wait_line line(changed.native_handle());
  process victim([&] {
    std::unique_lock lock(guard);
    changed.wait(lock);
  });
  ASSERT_TRUE(eventually([&] { return line.size() == 1; }));
  process disturbed([&] {
    struct sigaction ignored {};
    ignored.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &ignored, nullptr);
    const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 50'000},
                          .it_value = {.tv_sec = 0, .tv_usec = 50'000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    std::unique_lock lock(guard);
    changed.wait(lock);
  });
  ASSERT_TRUE(eventually([&] { return line.size() == 2; }));
  {
    const std::scoped_lock lock(guard);
    changed.notify_one();
    victim.kill();
    (void)victim.join();
  }
  EXPECT_TRUE(succeeds(disturbed));
}

TEST(ConditionVariable, TellsAWaiterOfADeadHolderOfTheMutex) {
  mutex guard;
  condition_variable changed;
  shoal::sync::wait_line line(changed.native_handle());
  process waiter([&] {
    std::unique_lock lock(guard);
    const pid_t dead = dead_told_by([&] { changed.wait(lock); }).process;
    const bool held = guard.holder()->process == ::getpid();
    guard.consistent();
    const std::unique_lock known(guard, std::adopt_lock);  // the other knows only of locks that succeed
    return dead != 0 && held && !lock.owns_lock() ? 0 : 1;
  });
  ASSERT_TRUE(eventually([&] { return line.size() == 1; }));
  process victim([&] {
    guard.lock();
    changed.notify_one();
    ::raise(SIGKILL);
  });
  (void)victim.join();
  EXPECT_TRUE(succeeds(waiter));
}

TEST(ConditionVariable, TellsAWaiterOfAMutexThatCannotBeRecovered) {
  mutex guard;
  condition_variable changed;
  shoal::sync::wait_line line(changed.native_handle());
  process waiter([&] {
    guard.lock();
    return code_of([&] { changed.wait(guard); }) == std::errc::state_not_recoverable ? 0 : 1;
  });
  ASSERT_TRUE(eventually([&] { return line.size() == 1; }));
  shoal::test::die_with(guard);
  EXPECT_NE(dead_told_by([&] { guard.lock(); }).process, 0);
  guard.unlock();
  changed.notify_one();
  EXPECT_TRUE(succeeds(waiter));
}

TEST(ConditionVariable, HasAsManyWaitersAsThereAreThreads) {
  mutex guard;
  condition_variable changed;
  shoal::sync::wait_line line(changed.native_handle());
  int woken = 0;
  std::vector<std::thread> waiters;
  constexpr int count = 50;
  for (int i = 0; i < count; ++i) {
    waiters.emplace_back([&] {
      std::unique_lock lock(guard);
      changed.wait(lock);
      ++woken;
    });
  }
  ASSERT_TRUE(eventually([&] { return line.size() == count; }));
  changed.notify_all();
  for (std::thread& one : waiters) {
    one.join();
  }
  EXPECT_EQ(woken, count);
}

}  // namespace
