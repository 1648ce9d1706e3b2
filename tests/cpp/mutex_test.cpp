#include "shoal/mutex.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/detail/lockable.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::mutex;
using shoal::process;
using shoal::memory::slot_kind;
using shoal::test::code_of;
using shoal::test::eventually;
using shoal::test::holder;
using shoal::test::in_child;
using shoal::test::shared;
using shoal::test::succeeds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

static_assert(shoal::detail::timed_lockable<mutex>);
static_assert(std::is_same_v<shoal::timed_mutex, mutex>);
static_assert(!std::is_copy_constructible_v<mutex> && std::is_nothrow_move_constructible_v<mutex>);

TEST(Mutex, ExcludesProcesses) {
  mutex guard;
  shared<int> counter;  // not atomic: the mutex has to do
  constexpr int each = 5'000;
  std::vector<process> running;
  for (int p = 0; p < 3; ++p) {
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const std::scoped_lock lock(guard);
        ++*counter;
      }
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(*counter, 3 * each);
}

TEST(Mutex, ExcludesThreads) {
  mutex guard;
  int counter = 0;
  constexpr int each = 5'000;
  std::vector<std::thread> running;
  for (int t = 0; t < 3; ++t) {
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const std::scoped_lock lock(guard);
        ++counter;
      }
    });
  }
  for (std::thread& one : running) {
    one.join();
  }
  EXPECT_EQ(counter, 3 * each);
}

TEST(Mutex, TwoAreLockedByAScopedLockInAnyOrder) {
  mutex first;
  mutex second;
  shared<int> counter;
  constexpr int each = 1'000;
  const auto work = [&](mutex& one, mutex& other) {
    for (int i = 0; i < each; ++i) {
      const std::scoped_lock lock(one, other);
      ++*counter;
    }
  };
  process forwards([&] { work(first, second); });
  process backwards([&] { work(second, first); });
  EXPECT_TRUE(succeeds(forwards));
  EXPECT_TRUE(succeeds(backwards));
  EXPECT_EQ(*counter, 2 * each);
}

TEST(Mutex, ATimedLockGivesUpAtItsTime) {
  mutex guard;
  const holder other(guard);
  ASSERT_TRUE(other.holds());
  const auto begin = steady_clock::now();
  std::unique_lock lock(guard, 20ms);
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_GE(steady_clock::now() - begin, 20ms);
  EXPECT_FALSE(lock.try_lock_until(steady_clock::now() + 5ms));
  EXPECT_FALSE(lock.try_lock_until(system_clock::now() + 5ms));
  EXPECT_FALSE(lock.try_lock_for(0ms));
  EXPECT_FALSE(lock.try_lock_for(-1h));
  EXPECT_FALSE(lock.try_lock_until(system_clock::now() - 1h));
  EXPECT_FALSE(lock.try_lock());
}

TEST(Mutex, ATimedLockGetsWhatComesFreeInTime) {
  mutex guard;
  for (const bool by_date : {false, true}) {
    holder other(guard);
    ASSERT_TRUE(other.holds());
    other.tell();
    std::unique_lock lock(guard, std::defer_lock);
    EXPECT_TRUE(by_date ? lock.try_lock_until(system_clock::now() + shoal::test::patience)
                        : lock.try_lock_for(shoal::test::patience));
  }
}

TEST(Mutex, IsFoundByItsHandle) {
  mutex guard("found");
  const auto handle = guard.native_handle();
  const auto copy = shoal::os::file_descriptor::duplicate(handle.arena);
  mutex same({copy.get(), handle.index});
  EXPECT_EQ(same.label(), "found");
  same.lock();
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.unlock();  // it is the same thread and the same mutex
  EXPECT_TRUE(in_child([&] { return same.try_lock(); }));
}

TEST(Mutex, IsFoundByAProcessThatWasThereBefore) {
  shared<std::atomic<int>> stage;
  shared<shoal::slot_location> handle;
  const pid_t parent = ::getpid();
  process other([&] {
    if (!eventually([&] { return stage->load() == 1; })) {
      return 1;
    }
    const auto arena = shoal::test::opened_anew(parent, handle->arena);
    mutex theirs({arena.get(), handle->index});
    theirs.lock();
    stage->store(2);
    return eventually([&] { return stage->load() == 3; }) ? 0 : 1;  // it ends without unlocking
  });
  mutex guard;
  *handle = guard.native_handle();
  stage->store(1);
  ASSERT_TRUE(eventually([&] { return stage->load() == 2; }));
  EXPECT_FALSE(guard.try_lock());
  EXPECT_EQ(guard.holder()->process, other.id());
  const pid_t id = other.id();
  stage->store(3);
  EXPECT_EQ(shoal::test::dead_told_by([&] { guard.lock(); }).process, id);
  guard.consistent();
  guard.unlock();
  EXPECT_TRUE(succeeds(other));
}

TEST(Mutex, RefusesHandlesOfSomethingElse) {
  shoal::event other;
  EXPECT_THROW(mutex(other.native_handle()), shoal::error);
  EXPECT_THROW(mutex({other.native_handle().arena, 100'000}), shoal::error);
  EXPECT_EQ(code_of([] { mutex nothing(shoal::slot_location{987, 0}); }), std::errc::bad_file_descriptor);
}

TEST(Mutex, AForkedChildHoldsNothing) {
  mutex guard;
  const std::scoped_lock lock(guard);
  EXPECT_TRUE(in_child([&] {
    return !guard.try_lock() && !guard.try_lock_for(5ms) &&
           code_of([&] { guard.unlock(); }) == std::errc::operation_not_permitted;
  }));
  EXPECT_EQ(guard.holder()->process, ::getpid());
}

TEST(Mutex, AChildForkedByTheHolderCanLockAfterIt) {
  mutex guard;
  guard.lock();
  process child([&] {
    guard.lock();
    const bool mine = guard.holder()->process == ::getpid();
    guard.unlock();
    return mine ? 0 : 1;
  });
  EXPECT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(guard, slot_kind::mutex), 1));
  guard.unlock();
  EXPECT_TRUE(succeeds(child));
}

TEST(Mutex, AForkDoesNotFreeWhatTheParentHolds) {
  mutex guard;
  guard.lock();
  EXPECT_TRUE(in_child([] { return true; }));  // its end is not the parent's
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.unlock();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(Mutex, KnowsItsLabelAndItsHolder) {
  mutex guard("log");
  EXPECT_EQ(guard.label(), "log");
  EXPECT_FALSE(guard.holder());
  const auto before = steady_clock::now();
  guard.lock();
  EXPECT_EQ(guard.holder()->process, ::getpid());
  EXPECT_EQ(guard.holder()->thread, ::gettid());
  EXPECT_TRUE(guard.holder()->alive);
  EXPECT_GE(guard.holder()->locked_at(), before - 20ms);  // the clock of the kernel's ticks
  EXPECT_LE(guard.holder()->locked_at(), steady_clock::now());
  guard.unlock();
  EXPECT_FALSE(guard.holder());

  pid_t id = 0;
  std::thread([&] {
    guard.lock();
    id = ::gettid();
  }).join();
  EXPECT_EQ(guard.holder()->thread, id);
  EXPECT_FALSE(guard.holder()->alive);
}

TEST(Mutex, CutsOffALongLabel) {
  EXPECT_EQ(mutex(std::string(100, 'x')).label(), std::string(31, 'x'));
  EXPECT_EQ(mutex().label(), "");
}

TEST(Mutex, IsUnlockedByItsHolderOnly) {
  mutex guard("log");
  EXPECT_EQ(code_of([&] { guard.unlock(); }), std::errc::operation_not_permitted);
  guard.lock();
  std::thread([&] {
    try {
      guard.unlock();
      ADD_FAILURE() << "unlocked by a stranger";
    } catch (const shoal::error& refusal) {
      EXPECT_EQ(refusal.code(), std::errc::operation_not_permitted);
      EXPECT_THAT(refusal.what(), testing::HasSubstr("the mutex 'log'"));
      EXPECT_THAT(refusal.what(), testing::HasSubstr("process " + std::to_string(::getpid())));
    }
  }).join();
  EXPECT_TRUE(guard.holder());
  guard.unlock();
  EXPECT_EQ(code_of([&] { guard.unlock(); }), std::errc::operation_not_permitted);
}

TEST(Mutex, RefusesToWaitForItself) {
  mutex guard;
  guard.lock();
  EXPECT_EQ(code_of([&] { guard.lock(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_FALSE(guard.try_lock());
  EXPECT_FALSE(guard.try_lock_for(5ms));
  guard.unlock();
  EXPECT_TRUE(guard.try_lock());
  guard.unlock();
}

TEST(Mutex, StaysLockedWhileItIsMoved) {
  mutex guard("moved");
  guard.lock();
  mutex other(std::move(guard));
  EXPECT_EQ(other.label(), "moved");
  EXPECT_FALSE(in_child([&] { return other.try_lock(); }));
  guard = std::move(other);
  guard.unlock();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(Mutex, IsHandedOnToEachWhoSleeps) {
  mutex guard;
  guard.lock();
  std::vector<process> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      guard.lock();
      guard.unlock();
    });
  }
  ASSERT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(guard, slot_kind::mutex), 4));
  guard.unlock();
  for (process& one : sleepers) {
    EXPECT_TRUE(succeeds(one));
  }
}

TEST(Mutex, OneWhoGaveUpLeavesNobodyAsleep) {
  // Sleepers with a time limit come and go before the one without; each may be the one who is woken.
  mutex guard;
  shared<std::atomic<bool>> enough;
  std::vector<process> impatient;
  for (int i = 0; i < 2; ++i) {
    impatient.emplace_back([&] {
      while (!enough->load()) {
        if (guard.try_lock_for(100us)) {
          guard.unlock();
        }
      }
    });
  }
  process patient([&] {
    for (int i = 0; i < 500; ++i) {
      const std::scoped_lock lock(guard);
    }
  });
  for (int i = 0; i < 500; ++i) {
    const std::scoped_lock lock(guard);
    std::this_thread::sleep_for(200us);
  }
  EXPECT_TRUE(succeeds(patient));
  enough->store(true);
  for (process& one : impatient) {
    EXPECT_TRUE(succeeds(one));
  }
}

}  // namespace
