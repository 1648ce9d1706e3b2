// The descriptors of a queue: how many it takes, and who may attach by them.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include "byte_queue_support.hpp"
#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::byte_queue;
using shoal::process;
using shoal::queue_status;
using shoal::test::pop;
using shoal::test::push;

TEST(ByteQueue, OutlivesItsCreator) {
  byte_queue handles;
  byte_queue never;
  process creator([&] {
    byte_queue made;
    push(made, "left behind");
    const shoal::queue_descriptors own = made.descriptors();
    push(handles, std::to_string(::getpid()) + " " + std::to_string(own.segment) + " " + std::to_string(own.readiness));
    pop(never);  // until it is killed
  });
  int pid = 0;
  int segment = 0;
  int readiness = 0;
  ASSERT_EQ(std::sscanf(pop(handles).c_str(), "%d %d %d", &pid, &segment, &readiness), 3);
  // An eventfd cannot be opened through /proc; this queue is not polled, so any will do.
  const shoal::os::file_descriptor inherited(
      ::open(("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(segment)).c_str(), O_RDWR));
  byte_queue other;
  byte_queue attached = byte_queue::attach({inherited.get(), other.descriptors().readiness});
  creator.kill();
  EXPECT_TRUE(creator.join().signaled());
  EXPECT_EQ(pop(attached), "left behind");
  EXPECT_EQ(push(attached, "and on"), queue_status::ok);
  EXPECT_EQ(pop(attached), "and on");
}

TEST(ByteQueue, RefusesDescriptorsOfAnythingElse) {
  byte_queue queue;
  const auto [segment, readiness, room] = queue.descriptors();
  EXPECT_EQ(room, -1);
  EXPECT_THROW(byte_queue::attach({readiness, readiness}), shoal::error);
  EXPECT_THROW(byte_queue::attach({segment, segment}), shoal::error);
  EXPECT_THROW(byte_queue::attach({-1, readiness}), std::system_error);
}

TEST(ByteQueue, LeavesNothingBehind) {
  const auto before = shoal::test::open_descriptors();
  for (int i = 0; i < 200; ++i) {
    byte_queue queue;
    push(queue, "x");
    byte_queue again = byte_queue::attach(queue.descriptors());
    EXPECT_EQ(pop(again), "x");
  }
  EXPECT_EQ(shoal::test::open_descriptors(), before);
}

TEST(ByteQueue, TakesOneDescriptorUntilSomebodyPollsItOrForks) {
  const auto before = shoal::test::open_descriptors();
  byte_queue queue({.capacity = 1});
  push(queue, "x");
  EXPECT_EQ(shoal::test::open_descriptors(), before + 1);
  (void)queue.native_handle();
  EXPECT_EQ(shoal::test::open_descriptors(), before + 2);
  process child([] {});
  EXPECT_TRUE(child.join().success());
  EXPECT_EQ(shoal::test::open_descriptors(), before + 3);  // that of room
}

TEST(ByteQueue, WithoutDescriptorsLeftIsAnErrorThatLeavesNothingBehind) {
  // In a process of its own: a hard limit cannot be raised again.
  process program([] {
    const auto before = shoal::test::open_descriptors();
    const rlimit low{.rlim_cur = static_cast<rlim_t>(before + 16), .rlim_max = static_cast<rlim_t>(before + 16)};
    ::setrlimit(RLIMIT_NOFILE, &low);
    std::vector<shoal::os::file_descriptor> used;
    const auto fails_for_want_of_descriptors = [](auto attempt) {
      try {
        attempt();
        return false;
      } catch (const std::system_error& full) {
        return full.code() == std::errc::too_many_files_open;
      }
    };
    if (!fails_for_want_of_descriptors([&] {
          for (;;) {
            used.push_back(shoal::os::file_descriptor::duplicate(0));
          }
        })) {
      return 1;
    }
    if (!fails_for_want_of_descriptors([] { byte_queue(); })) {
      return 2;
    }
    used.pop_back();
    {
      byte_queue queue;
      if (!fails_for_want_of_descriptors([&] { (void)queue.native_handle(); })) {
        return 3;
      }
      push(queue, std::string(100'000, 'x'));  // cannot own memory without a descriptor, and is copied under the lock
      if (pop(queue).size() != 100'000) {
        return 4;
      }
    }
    used.clear();
    return shoal::test::open_descriptors() == before ? 0 : 5;
  });
  EXPECT_EQ(program.join(), shoal::exit_status::exited_with(0));
}

TEST(ByteQueue, AskedForTheThirdDescriptorOfABoundedQueueSaysSo) {
  byte_queue queue({.capacity = 1});
  const auto [segment, readiness, room] = queue.descriptors();
  EXPECT_GE(room, 0);
  try {
    (void)byte_queue::attach({segment, readiness});
    FAIL() << "attached to a bounded queue by two descriptors";
  } catch (const shoal::error& refused) {
    EXPECT_EQ(refused.code(), shoal::errc::not_a_segment);
    EXPECT_THAT(refused.what(), testing::HasSubstr("a bounded one three"));
  }
}

}  // namespace
