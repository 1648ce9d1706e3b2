#include "sync/thread_record.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "memory/arena.hpp"
#include "os/process_identity.hpp"
#include "sync/owner_lock.hpp"

namespace {

using shoal::process;
using shoal::memory::arena_slot;
using shoal::memory::slot_kind;
using shoal::os::start_of_living_process;
using shoal::sync::owner_id;
using shoal::sync::owner_lock;
using shoal::sync::self_in;
using shoal::sync::thread_table;
using shoal::test::eventually;
using shoal::test::shared;
using shoal::test::succeeds;

class ThreadRecord : public testing::Test {
 protected:
  /// Another thread, with a record of its own, that has ended. @return what it was known as.
  owner_id ended_thread() {
    owner_id id = 0;
    std::thread([&] { id = self_in(slot_).id; }).join();
    return id;
  }

  arena_slot slot_ = arena_slot::allocate(slot_kind::block);
  thread_table threads_{slot_.home()};
};

TEST_F(ThreadRecord, IsTheSameAsLongAsTheThreadLives) {
  const owner_id mine = self_in(slot_).id;
  EXPECT_NE(mine, 0U);
  EXPECT_EQ(self_in(slot_).id, mine);
  EXPECT_EQ(mine & ~shoal::sync::owner_mask, 0U);
  EXPECT_TRUE(threads_.is_alive(mine));
  EXPECT_EQ(threads_.identity(mine).process, ::getpid());
  EXPECT_EQ(threads_.identity(mine).thread, ::gettid());
}

TEST_F(ThreadRecord, IsAnotherInEachThread) {
  std::atomic<bool> end{false};
  std::atomic<int> begun{0};
  std::set<owner_id> ids;
  std::mutex guard;
  std::vector<std::thread> running;
  for (int i = 0; i < 8; ++i) {
    running.emplace_back([&] {
      {
        const std::scoped_lock lock(guard);
        ids.insert(self_in(slot_).id);
      }
      ++begun;
      eventually([&] { return end.load(); });
    });
  }
  EXPECT_TRUE(eventually([&] { return begun == 8; }));
  EXPECT_EQ(ids.size(), 8U);
  end = true;
  for (std::thread& one : running) {
    one.join();
  }
  for (const owner_id id : ids) {
    EXPECT_FALSE(threads_.is_alive(id));
  }
}

TEST_F(ThreadRecord, IsAnotherInAForkedChild) {
  const owner_id mine = self_in(slot_).id;
  EXPECT_TRUE(shoal::test::in_child([&] {
    const owner_id theirs = self_in(slot_).id;
    return theirs != mine && threads_.is_alive(mine) && threads_.identity(theirs).process == ::getpid();
  }));
  EXPECT_EQ(self_in(slot_).id, mine);
  EXPECT_TRUE(threads_.is_alive(mine));
}

TEST_F(ThreadRecord, OfOneThatHasEndedIsUsedAgainUnderAnotherName) {
  const owner_id first = ended_thread();
  EXPECT_FALSE(threads_.is_alive(first));
  const std::uint32_t used = threads_.used();
  const owner_id second = ended_thread();
  EXPECT_NE(first, second);
  EXPECT_EQ(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(second)) << "the place is another";
  EXPECT_EQ(threads_.used(), used);
  EXPECT_EQ(threads_.identity(first).process, 0);  // not known any more
  EXPECT_EQ(threads_.identity(second).process, ::getpid());
}

TEST_F(ThreadRecord, OfOneThatHasEndedWithALockIsKeptUntilThatWasToldOf) {
  owner_lock lock(slot_kind::mutex);
  owner_id dead = 0;
  std::thread([&] {
    dead = self_in(lock.slot()).id;
    EXPECT_EQ(lock.lock_until(shoal::forever).status, shoal::sync::lock_status::acquired);
  }).join();
  const thread_table threads(lock.slot().home());
  const pid_t process = ::getpid();
  std::thread([&] {
    EXPECT_NE(static_cast<std::uint32_t>(self_in(lock.slot()).id), static_cast<std::uint32_t>(dead));
  }).join();
  EXPECT_EQ(threads.identity(dead).process, process);
  EXPECT_EQ(lock.lock_until(shoal::forever).status, shoal::sync::lock_status::owner_died);
  lock.consistent();
  lock.unlock();
  std::thread([&] {
    EXPECT_EQ(static_cast<std::uint32_t>(self_in(lock.slot()).id), static_cast<std::uint32_t>(dead));
  }).join();
}

TEST_F(ThreadRecord, SaysWhetherTheProcessLivesWhoseThreadHasEnded) {
  const owner_id mine = ended_thread();
  EXPECT_FALSE(threads_.is_alive(mine));
  EXPECT_TRUE(threads_.is_process_alive(mine));

  shared<std::atomic<owner_id>> theirs;
  process other([&] { theirs->store(self_in(slot_).id); });
  EXPECT_TRUE(succeeds(other));
  EXPECT_FALSE(threads_.is_alive(*theirs));
  EXPECT_FALSE(threads_.is_process_alive(*theirs));
}

TEST_F(ThreadRecord, KnowsAProcessWhoseEndNobodyHasWaitedForAsDead) {
  shared<std::atomic<owner_id>> theirs;
  process zombie([&] {
    theirs->store(self_in(slot_).id);
    ::raise(SIGKILL);
  });
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(zombie.id()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(threads_.is_alive(*theirs));
  EXPECT_FALSE(threads_.is_process_alive(*theirs));
  (void)zombie.join();
}

TEST_F(ThreadRecord, KeepsATextForOthersToRead) {
  const owner_id mine = self_in(slot_).id;
  const auto index = static_cast<std::uint32_t>(mine >> 8 & 0xffffff) - 1;
  EXPECT_EQ(threads_.text_of(index), "");
  threads_.set_text(index, "File \"a.py\", line 1");
  EXPECT_EQ(threads_.text_of(index), "File \"a.py\", line 1");
  threads_.set_text(index, std::string(10'000, 'x'));
  EXPECT_EQ(threads_.text_of(index), std::string(thread_table::text_size - 1, 'x'));
  threads_.set_text(index, "");
  EXPECT_EQ(threads_.text_of(index), "");
}

TEST_F(ThreadRecord, OfNobodyIsNotAlive) {
  EXPECT_FALSE(threads_.is_alive(owner_id{0}));
  EXPECT_EQ(threads_.record_of(0), nullptr);
  EXPECT_EQ(threads_.identity(0).process, 0);
}

TEST_F(ThreadRecord, IsThereInDestructorsOfThingsThatLiveLongerThanThreads) {
  // Made before the record, and so destroyed after it.
  struct late_locker {
    owner_lock* lock = nullptr;
    bool* worked = nullptr;
    ~late_locker() {
      if (lock != nullptr) {
        *worked = lock->lock_until(shoal::forever).status == shoal::sync::lock_status::acquired && lock->unlock();
      }
    }
  };
  owner_lock lock(slot_kind::mutex);
  bool worked = false;
  std::thread([&] {
    static thread_local late_locker late;
    late.lock = &lock;
    late.worked = &worked;
    (void)lock.lock_until(shoal::forever);
    lock.unlock();
  }).join();
  EXPECT_TRUE(worked);
}

TEST(ProcessIdentity, TellsTheLivingFromTheDead) {
  EXPECT_NE(start_of_living_process(::getpid()), 0U);
  EXPECT_EQ(start_of_living_process(::getpid()), start_of_living_process(::getpid()));
  EXPECT_EQ(start_of_living_process(0x7ffffff0), 0U);
  process child([] { ::pause(); });
  EXPECT_GE(start_of_living_process(child.id()), start_of_living_process(::getpid()));
  const pid_t id = child.id();
  child.kill();
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(id), &info, WEXITED | WNOWAIT);
  EXPECT_EQ(start_of_living_process(id), 0U);  // a zombie
  (void)child.join();
  EXPECT_EQ(start_of_living_process(id), 0U);
}

TEST(ProcessIdentity, IsThereAsLongAsOneOfItsThreadsIs) {
  if (shoal::test::under_thread_sanitizer) {
    GTEST_SKIP() << "it starts no threads in children";
  }
  process child([] {
    std::thread([] { ::pause(); }).detach();
    ::syscall(SYS_exit, 0);  // the first thread alone
  });
  ASSERT_TRUE(eventually([&] { return shoal::test::state_of(child.id()) == 'Z'; }));
  EXPECT_NE(start_of_living_process(child.id()), 0U);
  child.kill();
  (void)child.join();
}

}  // namespace
