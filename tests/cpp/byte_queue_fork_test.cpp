// Processes that fork while other threads of theirs use queues, and that fork often.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "byte_queue_support.hpp"
#include "process_support.hpp"
#include "queue/holder.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::after;
using shoal::byte_queue;
using shoal::encoding;
using shoal::lease;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::queue::holder;
using shoal::test::bytes_of;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;

constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// A thread that does something again and again while this object exists.
class repeating {
 public:
  template <class F>
  explicit repeating(F turn)
      : thread_([this, turn = std::move(turn)]() mutable {
          while (!ended_) {
            turn();
            ++turns_;
          }
        }) {
    while (turns_ == 0) {
      std::this_thread::yield();
    }
  }
  repeating(const repeating&) = delete;
  repeating& operator=(const repeating&) = delete;
  ~repeating() {
    ended_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> ended_ = false;
  std::atomic<std::uint64_t> turns_ = 0;
  std::thread thread_;
};

/// How many descriptors of this process refer to the same file as this one does.
int descriptors_like(int descriptor) {
  struct stat wanted {};
  ::fstat(descriptor, &wanted);
  int count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    struct stat found {};
    if (::fstat(std::atoi(each.path().filename().c_str()), &found) == 0 && found.st_dev == wanted.st_dev &&
        found.st_ino == wanted.st_ino) {
      ++count;
    }
  }
  return count;
}

int asynchronous_contexts() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find("[aio]") != std::string::npos ? 1 : 0;
  }
  return count;
}

TEST(ByteQueueFork, AChildHasNothingOfAHolderThatAnotherThreadWasMaking) {
  byte_queue queue;
  const int segment = queue.descriptors().segment;
  const repeating makes_holders(
      [segment, number = std::uint64_t{1}]() mutable { const holder made(segment, number++, holder::in_child::ends); });
  for (int i = 0; i < 50; ++i) {
    process child([&] { return descriptors_like(segment) - 1; });
    ASSERT_TRUE(child.join().success()) << "after " << i << " forks";
  }
}

TEST(ByteQueueFork, LeasesOfTheDeadComeBackThoughChildrenForkedWhileTheyWereTakenLiveOn) {
  byte_queue queue({.max_bytes = 16 * mebibyte});  // it is mapped many times
  byte_queue orders;
  byte_queue ready;
  byte_queue never;
  constexpr int children_count = 10;
  constexpr int most = 200;
  for (int i = 0; i < most; ++i) {
    push(queue, std::to_string(i));
  }
  process victim([&] {
    std::vector<byte_queue> handles;  // each is another owner of leases
    std::vector<lease> held(most);
    std::vector<process> children;
    {
      const repeating takes([&] {
        if (handles.size() < most) {
          handles.push_back(byte_queue::attach(queue.descriptors()));
          (void)handles.back().pop(held[handles.size() - 1], no_waiting);
        }
      });
      for (int i = 0; i < children_count; ++i) {
        children.emplace_back([&] { return pop(orders) == "end" ? 0 : 1; });
      }
    }
    push(ready, "has them");
    pop(never);
  });
  ASSERT_EQ(pop(ready), "has them");
  EXPECT_GT(queue.leased(), 0U);
  victim.kill();
  EXPECT_TRUE(victim.join().signaled());
  for (int i = 0; i < most; ++i) {
    ASSERT_EQ(pop(queue), std::to_string(i));
  }
  for (int i = 0; i < children_count; ++i) {
    push(orders, "end");
  }
}

TEST(ByteQueueFork, AProcessThatForksOftenAndTakesLeasesOccupiesNoMoreOfTheSystem) {
  byte_queue queue;
  for (int i = 0; i < 50; ++i) {
    process child([] {});
    ASSERT_TRUE(child.join().success());
    push(queue, "x");
    lease taken;
    ASSERT_EQ(queue.pop(taken, no_waiting), queue_status::ok);
    EXPECT_TRUE(taken.acknowledge());
  }
  EXPECT_LE(asynchronous_contexts(), 1);
}

TEST(ByteQueueFork, AChildForkedWhileAnotherThreadTakesALargeRecordDoesNotKeepItsMemory) {
  byte_queue queue({.max_bytes = 24 * mebibyte});  // room for two such records
  byte_queue orders;
  const std::string text(8 * mebibyte, 'x');
  std::atomic<int> failures = 0;
  std::vector<process> children;
  {
    record got;
    const repeating takes([&] {
      try {
        const bool is_right = queue.push(encoding::raw, bytes_of(text), after(patience)) == queue_status::ok &&
                              queue.pop(got, after(patience)) == queue_status::ok;
        failures += is_right ? 0 : 1;
      } catch (const std::bad_alloc&) {
        ++failures;
      }
    });
    for (int i = 0; i < 8; ++i) {
      // Once a record counts as taken its bytes are still being copied, for a while.
      const std::uint64_t taken = queue.popped();
      while (queue.popped() == taken && failures == 0) {
        std::this_thread::yield();
      }
      children.emplace_back([&] { return pop(orders) == "end" ? 0 : 1; });
    }
  }
  EXPECT_EQ(failures, 0);
  for (std::size_t i = 0; i < children.size(); ++i) {
    push(orders, "end");
  }
  for (process& child : children) {
    EXPECT_TRUE(child.join().success());
  }
}

}  // namespace
