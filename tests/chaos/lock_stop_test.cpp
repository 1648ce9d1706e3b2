// Processes are stopped, not killed, while they hold or wait. They are no dead: nobody takes what is theirs, others
// give up at their time, and all goes on when they do.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <mutex>
#include <shared_mutex>

#include "lock_support.hpp"
#include "shoal/barrier.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/mutex.hpp"
#include "shoal/process.hpp"
#include "shoal/recursive_mutex.hpp"
#include "shoal/shared_mutex.hpp"
#include "sync/barrier_core.hpp"
#include "sync/wait_line.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process;
using shoal::test::eventually;
using shoal::test::holder;
using shoal::test::patience;
using shoal::test::succeeds;

/// Longer than the clock by which others look around.
constexpr auto a_while = 1'300ms;

void stop(pid_t id) {
  ::kill(id, SIGSTOP);
  EXPECT_TRUE(eventually([id] { return shoal::test::state_of(id) == 'T'; }));
}
void go_on(pid_t id) { ::kill(id, SIGCONT); }

template <class Mutex>
class MutexOfAStoppedHolder : public testing::Test {};

using mutexes = testing::Types<shoal::mutex, shoal::recursive_mutex, shoal::shared_mutex>;
TYPED_TEST_SUITE(MutexOfAStoppedHolder, mutexes);

TYPED_TEST(MutexOfAStoppedHolder, IsItsOwnUntilItGoesOn) {
  TypeParam guard;
  holder stopped(guard);
  ASSERT_TRUE(stopped.holds());
  stop(stopped.id());
  EXPECT_FALSE(guard.try_lock());
  EXPECT_FALSE(guard.try_lock_for(a_while));
  EXPECT_TRUE(guard.holder()->alive);
  process sleeper([&] { const std::scoped_lock lock(guard); });
  stopped.tell();
  EXPECT_FALSE(sleeper.join_for(20ms));
  go_on(stopped.id());
  EXPECT_TRUE(succeeds(sleeper));
}

TEST(StoppedHolder, FreesItsMutexWhenItIsKilledAsItStands) {
  shoal::mutex guard;
  holder stopped(guard);
  stop(stopped.id());
  const pid_t id = stopped.id();
  stopped.kill();
  EXPECT_EQ(shoal::test::dead_told_by([&] { guard.lock(); }).process, id);
  guard.consistent();
  guard.unlock();
}

TEST(SharedMutexOfAStoppedReader, IsNotWritten) {
  shoal::shared_mutex guard;
  holder reader([&] { guard.lock_shared(); }, [&] { guard.unlock_shared(); });
  ASSERT_TRUE(reader.holds());
  stop(reader.id());
  EXPECT_FALSE(guard.try_lock_for(a_while));
  EXPECT_TRUE(guard.try_lock_shared());  // but others may read
  guard.unlock_shared();
  go_on(reader.id());
  EXPECT_TRUE(reader.let_go());
  EXPECT_TRUE(guard.try_lock_for(patience));
  guard.unlock();
}

TEST(MutexWithAStoppedWaiter, IsThereForOthers) {
  shoal::mutex guard;
  guard.lock();
  process stopped([&] { const std::scoped_lock lock(guard); });
  auto slot = shoal::test::slot_of(guard, shoal::memory::slot_kind::mutex);
  ASSERT_TRUE(shoal::test::sleep_at(slot, 1));
  stop(stopped.id());
  guard.unlock();  // wakes the one that is stopped
  process other([&] { const std::scoped_lock lock(guard); });
  EXPECT_TRUE(succeeds(other));
  go_on(stopped.id());
  EXPECT_TRUE(succeeds(stopped));
}

TEST(ConditionWithAStoppedWaiter, KeepsItsNotificationForIt) {
  shoal::mutex guard;
  shoal::condition_variable changed;
  shoal::sync::wait_line line(changed.native_handle());
  const auto wait = [&] {
    std::unique_lock lock(guard);
    changed.wait(lock);
  };
  process stopped(wait);
  ASSERT_TRUE(eventually([&] { return line.size() == 1; }));
  stop(stopped.id());
  process other(wait);
  ASSERT_TRUE(eventually([&] { return line.size() == 2; }));
  changed.notify_one();
  EXPECT_FALSE(other.join_for(a_while));  // it is not for this one, however long the first one takes
  go_on(stopped.id());
  EXPECT_TRUE(succeeds(stopped));
  changed.notify_one();
  EXPECT_TRUE(succeeds(other));
}

TEST(BarrierWithAStoppedParty, WaitsForIt) {
  shoal::barrier meeting(3);
  const shoal::sync::barrier_core same(meeting.native_handle());
  process stopped([&] { meeting.arrive_and_wait(); });
  ASSERT_TRUE(eventually([&] { return same.look().arrived == 1; }));
  stop(stopped.id());
  process other([&] { meeting.arrive_and_wait(); });
  EXPECT_FALSE(other.join_for(a_while));
  EXPECT_FALSE(meeting.is_broken());
  meeting.arrive_and_wait();
  EXPECT_TRUE(succeeds(other));
  go_on(stopped.id());
  EXPECT_TRUE(succeeds(stopped));
}

TEST(SemaphoreWithAStoppedWaiter, GivesItsUnitToAnother) {
  shoal::counting_semaphore units(0);
  process stopped([&] { units.acquire(); });
  auto slot = shoal::test::slot_of(units, shoal::memory::slot_kind::semaphore);
  ASSERT_TRUE(shoal::test::sleep_at(slot, 1));
  stop(stopped.id());
  process other([&] { units.acquire(); });
  ASSERT_TRUE(shoal::test::sleep_at(slot, 1));  // and the one that is stopped
  units.release();
  EXPECT_TRUE(succeeds(other));
  go_on(stopped.id());
  units.release();
  EXPECT_TRUE(succeeds(stopped));
}

}  // namespace
