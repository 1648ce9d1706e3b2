#include "shoal/shared_mutex.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <list>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/detail/lockable.hpp"
#include "shoal/error.hpp"
#include "shoal/mutex.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process;
using shoal::shared_mutex;
using shoal::memory::slot_kind;
using shoal::test::code_of;
using shoal::test::dead_told_by;
using shoal::test::eventually;
using shoal::test::holder;
using shoal::test::in_child;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::succeeds;

static_assert(shoal::detail::timed_lockable<shared_mutex>);
static_assert(shoal::detail::shared_timed_lockable<shared_mutex>);
static_assert(std::is_same_v<shoal::shared_timed_mutex, shared_mutex>);

/// A child that shares it until it is told to let go.
class reader : public holder {
 public:
  explicit reader(shared_mutex& guard)
      : holder([&guard] { guard.lock_shared(); }, [&guard] { guard.unlock_shared(); }) {}
};

TEST(SharedMutex, IsSharedByManyAtOnce) {
  shared_mutex guard;
  const reader first(guard);
  const reader second(guard);
  EXPECT_TRUE(first.holds() && second.holds());
  const std::shared_lock third(guard);
  EXPECT_TRUE(third.owns_lock());
  EXPECT_FALSE(guard.holder());
}

TEST(SharedMutex, IsNotWrittenWhileItIsRead) {
  shared_mutex guard;
  reader first(guard);
  reader second(guard);
  EXPECT_FALSE(guard.try_lock());
  EXPECT_FALSE(guard.try_lock_for(10ms));
  EXPECT_FALSE(guard.holder());
  EXPECT_TRUE(first.let_go());
  EXPECT_FALSE(guard.try_lock());
  EXPECT_TRUE(second.let_go());
  EXPECT_TRUE(guard.try_lock());
  guard.unlock();
}

TEST(SharedMutex, IsNotReadWhileItIsWritten) {
  shared_mutex guard;
  holder writer(guard);
  EXPECT_FALSE(guard.try_lock_shared());
  EXPECT_FALSE(guard.try_lock_shared_for(10ms));
  EXPECT_FALSE(guard.try_lock_shared_until(std::chrono::system_clock::now() + 5ms));
  EXPECT_FALSE(std::shared_lock(guard, 5ms).owns_lock());
  EXPECT_TRUE(writer.let_go());
  const std::shared_lock lock(guard, patience);
  EXPECT_TRUE(lock.owns_lock());
}

TEST(SharedMutex, AWriterWaitsForTheReadersThatAreThere) {
  shared_mutex guard;
  reader first(guard);
  reader second(guard);
  process writer([&] {
    guard.lock();
    guard.unlock();
  });
  ASSERT_TRUE(eventually([&] { return guard.holder().has_value(); }));
  EXPECT_TRUE(first.let_go());
  EXPECT_FALSE(writer.join_for(10ms));
  EXPECT_TRUE(second.let_go());
  EXPECT_TRUE(succeeds(writer));
}

TEST(SharedMutex, NobodyBeginsToReadWhileAWriterWaits) {
  shared_mutex guard;
  reader first(guard);
  process writer([&] {
    guard.lock();
    guard.unlock();
  });
  ASSERT_TRUE(eventually([&] { return guard.holder().has_value(); }));
  EXPECT_FALSE(guard.try_lock_shared());
  EXPECT_FALSE(guard.try_lock_shared_for(10ms));
  EXPECT_TRUE(first.let_go());
  EXPECT_TRUE(guard.try_lock_shared_for(patience));
  guard.unlock_shared();
  EXPECT_TRUE(succeeds(writer));
}

TEST(SharedMutex, AWriterWhoGivesUpLetsReadersIn) {
  shared_mutex guard;
  reader first(guard);
  process impatient([&] { return guard.try_lock_for(100ms) ? 1 : 0; });
  ASSERT_TRUE(eventually([&] { return guard.holder().has_value(); }));
  EXPECT_TRUE(guard.try_lock_shared_for(patience));
  guard.unlock_shared();
  EXPECT_TRUE(succeeds(impatient));
}

TEST(SharedMutex, ReadersSeeNothingHalfWritten) {
  shared_mutex guard;
  struct pair {
    int first;
    int second;
  };
  shared<pair> guarded;
  shared<std::atomic<bool>> enough;
  std::vector<process> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      bool whole = true;
      while (!enough->load()) {
        const std::shared_lock lock(guard);
        whole = whole && guarded->first == guarded->second;
      }
      return whole ? 0 : 1;
    });
  }
  std::vector<process> writers;
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      for (int round = 0; round < 2'000; ++round) {
        const std::unique_lock lock(guard);
        ++guarded->first;
        ++guarded->second;
      }
    });
  }
  for (process& one : writers) {
    EXPECT_TRUE(succeeds(one));
  }
  enough->store(true);
  for (process& one : readers) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_EQ(guarded->first, 4'000);
}

TEST(SharedMutex, AKilledReaderIsForgotten) {
  shared_mutex guard;
  reader victim(guard);
  ASSERT_TRUE(victim.holds());
  process writer([&] {
    guard.lock();
    guard.unlock();
  });
  ASSERT_TRUE(eventually([&] { return guard.holder().has_value(); }));
  victim.kill();
  EXPECT_TRUE(succeeds(writer));
  EXPECT_TRUE(guard.try_lock());
  guard.unlock();
}

TEST(SharedMutex, AReaderWhoseThreadHasEndedIsForgotten) {
  shared_mutex guard;
  std::thread([&] { guard.lock_shared(); }).join();
  EXPECT_TRUE(guard.try_lock());
  guard.unlock();
}

TEST(SharedMutex, AThreadThatComesLaterDoesNotReadWhatADeadOneRead) {
  // It may get the record of the dead one.
  shared_mutex guard;
  std::thread([&] { guard.lock_shared(); }).join();
  shoal::mutex other;
  std::atomic<bool> end{false};
  std::thread later([&] {
    const std::scoped_lock lock(other);
    eventually([&] { return end.load(); });
  });
  ASSERT_TRUE(eventually([&] { return other.holder().has_value(); }));
  EXPECT_TRUE(guard.try_lock_for(patience));
  guard.unlock();
  end = true;
  later.join();
}

TEST(SharedMutex, ADeadReaderLeavesWhatLiesInItsSlotLaterAlone) {
  std::list<shoal::mutex> keep_the_arena(2);
  {
    shared_mutex guard;
    std::thread([&] { guard.lock_shared(); }).join();
  }
  // In the slot of the old one; and each byte of it has its lowest bit set.
  const auto reused = shoal::memory::arena_slot::allocate(slot_kind::block);
  std::fill_n(reused.data(), reused.bytes(), std::byte{0xff});
  std::thread([&] { const std::scoped_lock lock(keep_the_arena.front()); }).join();
  EXPECT_EQ(std::count(reused.data(), reused.data() + reused.bytes(), std::byte{0xff}), 64);
}

TEST(SharedMutex, ADeadWriterIsToldToReadersUntilAWriterHasPutThingsRight) {
  shared_mutex guard;
  const pid_t victim = shoal::test::die_with(guard);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(dead_told_by([&] { guard.lock_shared(); }).process, victim);
    guard.unlock_shared();
  }
  EXPECT_EQ(dead_told_by([&] { (void)guard.try_lock_shared(); }).process, victim);
  guard.unlock_shared();
  EXPECT_EQ(dead_told_by([&] { guard.lock(); }).process, victim);
  guard.consistent();
  guard.unlock();
  guard.lock_shared();
  guard.unlock_shared();
}

TEST(SharedMutex, IsSharedByAReaderWhoWasToldOfADeadWriter) {
  shared_mutex guard;
  shoal::test::die_with(guard);
  EXPECT_NE(dead_told_by([&] { guard.lock_shared(); }).process, 0);
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  EXPECT_EQ(code_of([&] { guard.lock_shared(); }), std::errc::owner_dead);
  guard.unlock_shared();
  guard.unlock_shared();
}

TEST(SharedMutex, AWriterWhoGivesUpOnReadersLeavesTheDeadOneToTheNext) {
  shared_mutex guard;
  shoal::test::die_with(guard);
  holder told([&] { (void)dead_told_by([&] { guard.lock_shared(); }); }, [&] { guard.unlock_shared(); });
  ASSERT_TRUE(told.holds());
  EXPECT_FALSE(guard.try_lock());
  EXPECT_FALSE(guard.try_lock_for(10ms));
  EXPECT_EQ(code_of([&] { guard.lock_shared(); }), std::errc::owner_dead);
  guard.unlock_shared();
  EXPECT_TRUE(told.let_go());
  EXPECT_EQ(code_of([&] { guard.lock(); }), std::errc::owner_dead);
  guard.consistent();
  guard.unlock();
}

TEST(SharedMutex, IsRefusedToReadersOnceItCannotBeRecovered) {
  shared_mutex guard;
  shoal::test::die_with(guard);
  EXPECT_NE(dead_told_by([&] { guard.lock(); }).process, 0);
  process sleeper([&] { return code_of([&] { guard.lock_shared(); }) == std::errc::state_not_recoverable ? 0 : 1; });
  EXPECT_TRUE(shoal::test::sleep_at(shoal::test::slot_of(guard, slot_kind::shared_mutex), 1));
  guard.unlock();
  EXPECT_TRUE(succeeds(sleeper));
  EXPECT_EQ(code_of([&] { guard.lock_shared(); }), std::errc::state_not_recoverable);
  EXPECT_EQ(code_of([&] { guard.unlock_shared(); }), std::errc::operation_not_permitted);
}

TEST(SharedMutex, AThreadSharesSixteenAtATime) {
  std::list<shared_mutex> guards(17);
  for (int i = 0; i < 16; ++i) {
    std::next(guards.begin(), i)->lock_shared();
  }
  EXPECT_EQ(code_of([&] { guards.back().lock_shared(); }), std::errc::resource_unavailable_try_again);
  EXPECT_EQ(code_of([&] { (void)guards.back().try_lock_shared(); }), std::errc::resource_unavailable_try_again);
  guards.front().unlock_shared();
  guards.back().lock_shared();
  EXPECT_FALSE(in_child([&] { return guards.back().try_lock(); }));
  for (auto one = std::next(guards.begin()); one != guards.end(); ++one) {
    one->unlock_shared();
  }
}

TEST(SharedMutex, IsSharedAsOftenAsAThreadLikes) {
  shared_mutex guard;
  guard.lock_shared();
  guard.lock_shared();
  guard.unlock_shared();
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.unlock_shared();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(SharedMutex, RefusesToWaitForItself) {
  shared_mutex guard;
  guard.lock();
  EXPECT_EQ(code_of([&] { guard.lock(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(code_of([&] { guard.lock_shared(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_FALSE(guard.try_lock());
  EXPECT_FALSE(guard.try_lock_shared());
  guard.unlock();
}

TEST(SharedMutex, IsUnlockedByItsHolderOnly) {
  shared_mutex guard;
  EXPECT_EQ(code_of([&] { guard.unlock(); }), std::errc::operation_not_permitted);
  EXPECT_EQ(code_of([&] { guard.unlock_shared(); }), std::errc::operation_not_permitted);
  const reader other(guard);
  EXPECT_EQ(code_of([&] { guard.unlock_shared(); }), std::errc::operation_not_permitted);
}

TEST(SharedMutex, AForkedChildSharesNothing) {
  shared_mutex guard;
  guard.lock_shared();
  EXPECT_TRUE(in_child([&] {
    return code_of([&] { guard.unlock_shared(); }) == std::errc::operation_not_permitted && !guard.try_lock();
  }));
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.unlock_shared();
  EXPECT_TRUE(in_child([&] { return guard.try_lock(); }));
}

TEST(SharedMutex, IsFoundByItsHandle) {
  shared_mutex guard("map");
  shared_mutex same(guard.native_handle());
  EXPECT_EQ(same.label(), "map");
  same.lock_shared();
  EXPECT_FALSE(in_child([&] { return guard.try_lock(); }));
  guard.unlock_shared();
  shoal::mutex plain;
  EXPECT_THROW(shared_mutex(plain.native_handle()), shoal::error);
}

}  // namespace
