// How much shared memory a queue keeps: for records on lease, for producers that wait, and for those that were killed.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "byte_queue_support.hpp"
#include "memory/segment.hpp"
#include "process_support.hpp"
#include "queue/layout.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::after;
using shoal::byte_queue;
using shoal::encoding;
using shoal::lease;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record_batch;
using shoal::reserved_record;
using shoal::test::eventually;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;

constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// Bytes of shared memory that the queue occupies.
std::size_t resident(const byte_queue& queue) {
  struct stat status {};
  ::fstat(queue.descriptors().segment, &status);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

TEST(ByteQueueMemory, OfRecordsAcknowledgedLateGoesBackToTheSystem) {
  byte_queue queue;
  constexpr std::size_t count = 128;
  const std::string text(mebibyte, 'x');
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(push(queue, text), queue_status::ok);
  }
  ASSERT_GE(resident(queue), count * mebibyte);
  std::vector<lease> window(4);
  for (std::size_t i = 0; i < count; ++i) {
    lease& next = window[i % window.size()];
    next.acknowledge();
    ASSERT_EQ(queue.pop(next, no_waiting), queue_status::ok);
  }
  for (lease& last : window) {
    EXPECT_TRUE(last.acknowledge());
  }
  EXPECT_LT(resident(queue), count * mebibyte / 2);
}

TEST(ByteQueueMemory, OfALargeRecordIsNotTakenBeforeThereIsRoomForIt) {
  byte_queue queue({.capacity = 1});
  push(queue, "in the way");
  const auto memory = shoal::memory::segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue);
  const auto& shared = *memory.at<shoal::queue::control>(shoal::queue::control_offset);
  process producer(
      [&] { return push(queue, std::string(8 * mebibyte, 'x'), after(patience)) == queue_status::ok ? 0 : 1; });
  EXPECT_TRUE(eventually([&] { return shared.space.has_sleepers(); }));
  EXPECT_LT(resident(queue), 8 * mebibyte);
  EXPECT_EQ(pop(queue), "in the way");
  EXPECT_EQ(pop(queue).size(), 8 * mebibyte);
  EXPECT_TRUE(producer.join().success());
}

TEST(ByteQueueMemory, ReservedByTheKilledIsUsedForTheNextRecords) {
  byte_queue queue;
  byte_queue ready;
  byte_queue never;
  constexpr std::size_t size = 8 * mebibyte;
  const std::string text(size, 'x');
  for (int i = 0; i < 12; ++i) {
    process victim([&] {
      reserved_record room;
      push(ready, queue.reserve(room, size) == queue_status::ok ? "writes" : "has no room");
      pop(never);
    });
    ASSERT_EQ(pop(ready), "writes");
    victim.kill();
    ASSERT_TRUE(victim.join().signaled());
    ASSERT_EQ(push(queue, text), queue_status::ok);
    ASSERT_EQ(pop(queue).size(), size);
  }
  EXPECT_LT(resident(queue), 6 * size);
}

TEST(ByteQueueMemory, BorrowedByTheKilledIsUsedForTheNextRecords) {
  byte_queue queue;
  byte_queue ready;
  byte_queue never;
  constexpr std::size_t size = 8 * mebibyte;
  const std::string text(size, 'x');
  for (int i = 0; i < 12; ++i) {
    ASSERT_EQ(push(queue, text), queue_status::ok);
    process victim([&] {
      shoal::borrowed_record got;
      push(ready, queue.borrow(got) == queue_status::ok ? "reads" : "has nothing");
      pop(never);
    });
    ASSERT_EQ(pop(ready), "reads");
    victim.kill();
    ASSERT_TRUE(victim.join().signaled());
  }
  EXPECT_LT(resident(queue), 6 * size);
}

TEST(ByteQueueMemory, OfSmallReservedRecordsIsFollowedByOthers) {
  byte_queue queue;
  for (int i = 0; i < 1'000; ++i) {  // so that chunks are used again, with something in them
    push(queue, std::string(1'000, 'o'));
    pop(queue);
  }
  std::vector<std::string> expected;
  for (int i = 0; i < 300; ++i) {
    const std::string text = std::to_string(i) + std::string(static_cast<std::size_t>(i * 37 % 400), 'r');
    reserved_record room;
    ASSERT_EQ(queue.reserve(room, text.size()), queue_status::ok);
    std::memcpy(room.bytes().data(), text.data(), text.size());
    ASSERT_EQ(queue.push(encoding::raw, room), queue_status::ok);
    expected.push_back(text);
    for (int j = 0; j < i % 3; ++j) {
      expected.push_back("between " + std::to_string(j));
      push(queue, expected.back());
    }
    if (i % 50 == 0) {
      expected.emplace_back(byte_queue::large + 5, 'l');
      push(queue, expected.back());
    }
  }
  record_batch got;
  while (got.size() < expected.size()) {
    ASSERT_EQ(queue.pop_many(got, 7, no_waiting), queue_status::ok);
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::string(reinterpret_cast<const char*>(got[i].bytes.data()), got[i].bytes.size()), expected[i]);
  }
  EXPECT_TRUE(queue.empty());
}

TEST(ByteQueueMemory, OfASmallReservedRecordIsReadAtOnceAndFollowedByTheNext) {
  byte_queue queue;
  for (int i = 0; i < 200; ++i) {
    reserved_record room;
    ASSERT_EQ(queue.reserve(room, 10), queue_status::ok);
    std::memset(room.bytes().data(), 'a', 10);
    ASSERT_EQ(queue.push(encoding::raw, room), queue_status::ok);
    push(queue, "the next");
    ASSERT_EQ(pop(queue), std::string(10, 'a'));
    ASSERT_EQ(pop(queue), "the next");
  }
}

}  // namespace
