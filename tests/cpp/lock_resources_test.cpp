// What locks cost a process and what they leave behind: descriptors, mappings, memory, and places of threads.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
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
#include "sync/thread_record.hpp"

namespace {

using shoal::mutex;
using shoal::process;
using shoal::memory::slot_kind;
using shoal::sync::thread_table;
using shoal::test::in_child;
using shoal::test::instrumented;
using shoal::test::open_descriptors;
using shoal::test::shared;
using shoal::test::succeeds;

std::ptrdiff_t mappings() {
  std::ifstream maps("/proc/self/maps");
  return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
}

/// Resident memory, private and shared, in bytes.
long resident() {
  std::ifstream statm("/proc/self/statm");
  long size = 0;
  long pages = 0;
  statm >> size >> pages;
  return pages * ::sysconf(_SC_PAGESIZE);
}

TEST(LockResources, TenThousandMutexesNeedFewDescriptors) {
  EXPECT_TRUE(in_child([] {
    const rlimit few{.rlim_cur = 1024, .rlim_max = 1024};
    ::setrlimit(RLIMIT_NOFILE, &few);
    const auto before = open_descriptors();
    std::vector<std::unique_ptr<mutex>> guards;
    for (int i = 0; i < 10'000; ++i) {
      guards.push_back(std::make_unique<mutex>());
      guards.back()->lock();
    }
    if (open_descriptors() - before > 20) {
      return false;
    }
    for (const auto& guard : guards) {
      guard->unlock();
    }
    return true;
  }));
}

TEST(LockResources, AMillionThatComeAndGoLeaveNothing) {
  constexpr int rounds = instrumented ? 2'000 : 125'000;
  const auto turn = [] {
    mutex plain;
    shoal::recursive_mutex recursive;
    shoal::shared_mutex many;
    shoal::counting_semaphore units(1);
    shoal::event ready;
    shoal::condition_variable changed;
    shoal::barrier meeting(1);
    shoal::latch once(1);
    plain.lock();
    recursive.lock();
    many.lock_shared();
    units.acquire();
    meeting.arrive_and_wait();
    plain.unlock();
    recursive.unlock();
    many.unlock_shared();
  };
  for (int i = 0; i < 1'000; ++i) {
    turn();
  }
  const auto descriptors = open_descriptors();
  const auto mapped = mappings();
  const long memory = resident();
  for (int i = 0; i < rounds; ++i) {
    turn();
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  if (!instrumented) {
    EXPECT_EQ(mappings(), mapped);
    EXPECT_LE(resident(), memory + (1 << 20));
  }
}

TEST(LockResources, ManyThatAreDroppedTogetherDoNotAddUp) {
  const auto turn = [] {
    std::vector<mutex> guards(20'000);
    for (mutex& guard : guards) {
      guard.lock();
      guard.unlock();
    }
  };
  turn();
  const auto descriptors = open_descriptors();
  const auto mapped = mappings();
  for (int round = 0; round < 5; ++round) {
    turn();
  }
  // A thread stays known where it was, until it comes to where it was not.
  EXPECT_LE(open_descriptors(), descriptors + 2);
  if (!instrumented) {
    EXPECT_LE(mappings(), mapped + 4);
  }
}

TEST(LockResources, ThreadsThatComeAndGoUseUpNoPlaces) {
  mutex guard;
  shoal::condition_variable changed;
  const auto slot = shoal::test::slot_of(guard, slot_kind::mutex);
  constexpr int threads = instrumented ? 2'000 : 100'000;
  const auto use = [&] {
    std::unique_lock lock(guard);
    (void)changed.wait_for(lock, std::chrono::nanoseconds(1));
  };
  std::thread(use).join();
  const std::uint32_t used = thread_table(slot.home()).used();
  for (int i = 0; i < threads / 2; ++i) {
    std::thread first(use);
    std::thread second(use);
    first.join();
    second.join();
  }
  EXPECT_LE(thread_table(slot.home()).used(), used + 2);
}

TEST(LockResources, ProcessesThatComeAndGoUseUpNoPlaces) {
  mutex guard;
  const auto slot = shoal::test::slot_of(guard, slot_kind::mutex);
  guard.lock();
  guard.unlock();
  const std::uint32_t used = thread_table(slot.home()).used();
  constexpr int processes = instrumented ? 40 : 200;
  for (int i = 0; i < processes; ++i) {
    process visitor([&] {
      guard.lock();
      if (i % 2 == 0) {
        ::raise(SIGKILL);
      }
      guard.unlock();
    });
    (void)visitor.join();
    if (i % 2 == 0) {
      EXPECT_NE(shoal::test::dead_told_by([&] { guard.lock(); }).process, 0);
      guard.consistent();
      guard.unlock();
    }
  }
  EXPECT_LE(thread_table(slot.home()).used(), used + 2);
}

TEST(LockResources, LocksOfManyProcessesOneAfterTheOtherLeaveFewMappings) {
  constexpr int processes = instrumented ? 50 : 1'000;
  const auto descriptors = open_descriptors();
  const auto mapped = mappings();
  shared<std::atomic<int>> stage;
  shared<shoal::slot_location> handle;
  for (int i = 0; i < processes; ++i) {
    stage->store(0);
    process maker([&] {
      mutex made;  // in an arena of the child's own
      *handle = made.native_handle();
      stage->store(1);
      while (stage->load() != 2) {
        ::usleep(50);
      }
    });
    while (stage->load() != 1) {
      ::usleep(50);
    }
    {
      const auto arena = shoal::test::opened_anew(maker.id(), handle->arena);
      mutex theirs({arena.get(), handle->index});
      const std::scoped_lock lock(theirs);
    }
    stage->store(2);
    ASSERT_TRUE(succeeds(maker));
  }
  EXPECT_LE(open_descriptors(), descriptors + 2);
  EXPECT_LE(mappings(), mapped + 4);
}

}  // namespace
