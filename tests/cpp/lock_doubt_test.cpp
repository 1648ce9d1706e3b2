#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "lock_support.hpp"
#include "os/process_identity.hpp"
#include "sync/owner_lock.hpp"

// Whether a process lives is asked of /proc. Where that cannot tell, nothing may be taken from anybody: a lock with two
// holders is worse than one that is held too long.
namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::process;
using shoal::memory::slot_kind;
using shoal::os::no_process;
using shoal::os::start_of_living_process;
using shoal::os::unknown_start;
using shoal::sync::ends_with;
using shoal::sync::lock_attempt;
using shoal::sync::lock_status;
using shoal::sync::owner_lock;
using shoal::test::eventually;
using shoal::test::holder;
using shoal::test::in_child;
using shoal::test::patience;
using shoal::test::shared;

/// From now on this process, a child, can open nothing.
void do_without_new_descriptors() {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_NOFILE, &none) != 0 || ::open("/proc/self/stat", O_RDONLY) >= 0) {
    std::abort();
  }
}

/// From now on this process, a child, does not see /proc. @return false if it may not do so.
bool do_without_proc() {
  constexpr const char* a_directory_without_it = "/etc";
  return (::chroot(a_directory_without_it) == 0 ||
          (::unshare(CLONE_NEWUSER) == 0 && ::chroot(a_directory_without_it) == 0)) &&
         ::access("/proc/self/stat", R_OK) != 0;
}

/// Lets a thread lock for its process, and end.
void lock_for_this_process(owner_lock& lock) {
  std::thread([&] {
    if (lock.try_lock(ends_with::process).status != lock_status::acquired) {
      std::abort();
    }
  }).join();
}

/// Whether somebody who tries to lock, and waits a little, finds that a living process holds it.
bool is_held(owner_lock& lock) {
  return lock.try_lock(ends_with::process).status == lock_status::timed_out &&
         lock.lock_until(after(5ms), ends_with::process).status == lock_status::timed_out;
}

/// A process id that nobody has.
pid_t id_of_a_dead_process() {
  process child([] {});
  const pid_t id = child.id();
  (void)child.join();
  return id;
}

TEST(ProcessIdentity, OfALivingProcessIsInDoubtWhereNoDescriptorIsLeft) {
  const pid_t parent = ::getpid();
  EXPECT_TRUE(in_child([&] {
    do_without_new_descriptors();
    return start_of_living_process(parent) == unknown_start && start_of_living_process(::getpid()) == unknown_start;
  }));
}

TEST(ProcessIdentity, OfALivingProcessIsInDoubtWhereProcIsNotThere) {
  const pid_t parent = ::getpid();
  const shared<std::atomic<bool>> impossible;
  EXPECT_TRUE(in_child([&] {
    if (!do_without_proc()) {
      impossible->store(true);
      return true;
    }
    return start_of_living_process(parent) == unknown_start;
  }));
  if (impossible->load()) {
    GTEST_SKIP() << "this user may not change its root directory";
  }
}

TEST(ProcessIdentity, OfADeadProcessIsNotInDoubtWhereNoDescriptorIsLeft) {
  const pid_t dead = id_of_a_dead_process();
  EXPECT_EQ(start_of_living_process(dead), no_process);
  EXPECT_TRUE(in_child([&] {
    do_without_new_descriptors();
    return start_of_living_process(dead) == no_process;
  }));
}

TEST(ProcessIdentity, NoIdsThatAreNoneMeanOurselves) {
  EXPECT_TRUE(in_child([] {
    const bool none = start_of_living_process(0) == no_process && start_of_living_process(-1) == no_process;
    do_without_new_descriptors();
    return none && start_of_living_process(0) == no_process && start_of_living_process(-1) == no_process;
  }));
}

TEST(ProcessIdentity, OneThatNobodyHasWaitedForIsDead) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(0);
  }
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(start_of_living_process(child), no_process);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(ProcessIdentity, OneLivesWhoseFirstThreadHasEnded) {
  const shared<std::atomic<bool>> done;
  const pid_t child = ::fork();
  if (child == 0) {
    std::thread([&] { ::_exit(eventually([&] { return done->load(); }) ? 0 : 1); }).detach();
    // Without its end as a C++ thread, which would unwind into the tests.
    ::syscall(SYS_exit, 0);
  }
  const auto first_has_ended = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string line;
    std::getline(stat, line);
    return line.find(") Z") != std::string::npos;
  };
  EXPECT_TRUE(eventually(first_has_ended));
  const std::uint64_t start = start_of_living_process(child);
  EXPECT_NE(start, no_process);
  EXPECT_NE(start, unknown_start);
  done->store(true);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(start_of_living_process(child), no_process);
}

TEST(LockOfALivingProcess, IsNotTakenByOneWithoutDescriptors) {
  owner_lock lock(slot_kind::mutex);
  lock_for_this_process(lock);
  EXPECT_TRUE(in_child([&] {
    do_without_new_descriptors();
    return is_held(lock);
  }));
  EXPECT_TRUE(lock.release());
}

TEST(LockOfALivingProcess, IsNotTakenByOneWithoutProc) {
  owner_lock lock(slot_kind::mutex);
  lock_for_this_process(lock);
  const shared<std::atomic<bool>> impossible;
  EXPECT_TRUE(in_child([&] {
    if (!do_without_proc()) {
      impossible->store(true);
      return true;
    }
    return is_held(lock);
  }));
  EXPECT_TRUE(lock.release());
  if (impossible->load()) {
    GTEST_SKIP() << "this user may not change its root directory";
  }
}

TEST(LockOfALivingProcess, IsNotTakenFromOneThatHadNoDescriptorToLearnWhenItBegan) {
  owner_lock lock(slot_kind::mutex);
  holder child(
      [&] {
        do_without_new_descriptors();
        lock_for_this_process(lock);
      },
      [] {});
  ASSERT_TRUE(child.holds());
  EXPECT_TRUE(is_held(lock));
  const pid_t id = child.id();
  child.kill();
  const lock_attempt attempt = lock.lock_until(after(patience), ends_with::process);
  EXPECT_EQ(attempt.status, lock_status::owner_died);
  EXPECT_EQ(attempt.dead.process, id);
  lock.consistent();
  EXPECT_TRUE(lock.unlock());
}

TEST(LockOfALivingProcess, IsTakenByOneWithoutDescriptorsOnceThatHasDied) {
  owner_lock lock(slot_kind::mutex);
  holder child([&] { lock_for_this_process(lock); }, [] {});
  ASSERT_TRUE(child.holds());
  EXPECT_TRUE(is_held(lock));
  child.kill();
  EXPECT_TRUE(in_child([&] {
    do_without_new_descriptors();
    return lock.lock_until(after(patience), ends_with::process).status == lock_status::owner_died;
  }));
}

TEST(LockOfALivingProcess, OfAChildThatLocksAfterItsParentIsItsOwn) {
  // What a process has found out of itself is not what its child is.
  const std::uint64_t parent_start = start_of_living_process(::getpid());
  owner_lock lock(slot_kind::mutex);
  ASSERT_EQ(lock.try_lock(ends_with::process).status, lock_status::acquired);
  ASSERT_TRUE(lock.unlock());
  ASSERT_TRUE(
      eventually([&] { return in_child([&] { return start_of_living_process(::getpid()) != parent_start; }); }));
  holder child([&] { lock_for_this_process(lock); }, [] {});
  ASSERT_TRUE(child.holds());
  EXPECT_TRUE(is_held(lock));
  EXPECT_TRUE(child.let_go());
}

}  // namespace
