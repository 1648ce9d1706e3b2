// Counts at and beyond their limits.

#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "byte_queue_support.hpp"
#include "process_support.hpp"

namespace {

using shoal::byte_queue;
using shoal::lease;
using shoal::no_waiting;
using shoal::queue_status;
using shoal::test::is_readable;
using shoal::test::pop;
using shoal::test::push;

TEST(ByteQueueCounts, MoreTasksThanThereAreCannotBeDone) {
  byte_queue queue;
  for (int i = 0; i < 3; ++i) {
    push(queue, "x");
  }
  EXPECT_TRUE(queue.task_done());
  for (const std::size_t count :
       {std::size_t{3}, std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max() - 1}) {
    EXPECT_FALSE(queue.task_done(count)) << count;
    EXPECT_EQ(queue.unfinished(), 2U);
  }
  EXPECT_TRUE(queue.task_done(2));
  EXPECT_EQ(queue.wait_until_done(no_waiting), queue_status::ok);
}

TEST(ByteQueueCounts, ClearDropsThousandsThatCameBackAndAllThatAreThere) {
  byte_queue queue;
  constexpr std::size_t count = 20'000;
  {
    std::vector<lease> held(count);
    for (lease& one : held) {
      push(queue, "back");
      ASSERT_EQ(queue.pop(one, no_waiting), queue_status::ok);
    }
  }
  push(queue, "out");
  EXPECT_EQ(queue.size(), count + 1);
  const int fd = queue.native_handle();
  std::size_t dropped = 0;
  EXPECT_EQ(queue.clear(dropped), queue_status::ok);
  EXPECT_EQ(dropped, count + 1);
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_FALSE(is_readable(fd));
  push(queue, "after");
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(pop(queue), "after");
  EXPECT_FALSE(is_readable(fd));
}

TEST(ByteQueueCounts, AThousandLeasesLeaveAPolledQueueReadableExactlyWhileItHoldsSomething) {
  byte_queue queue;
  const int fd = queue.native_handle();
  std::vector<lease> held(1'000);
  for (lease& one : held) {
    push(queue, "x");
    ASSERT_EQ(queue.pop(one, no_waiting), queue_status::ok);
    ASSERT_FALSE(is_readable(fd));
  }
  for (lease& one : held) {
    one = lease();
    ASSERT_TRUE(is_readable(fd));
    ASSERT_EQ(pop(queue), "x");
    ASSERT_FALSE(is_readable(fd));
  }
}

}  // namespace
