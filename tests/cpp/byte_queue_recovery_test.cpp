// Shared memory that was written over, found when a process has died or when it is used: an error for everybody, and
// for nothing but that queue.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "byte_queue_support.hpp"
#include "memory/segment.hpp"
#include "process_support.hpp"
#include "queue/layout.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::after;
using shoal::borrowed_record;
using shoal::byte_queue;
using shoal::deadline;
using shoal::encoding;
using shoal::lease;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::record_batch;
using shoal::reserved_record;
using shoal::memory::segment;
using shoal::queue::chunk;
using shoal::queue::control;
using shoal::queue::ledger_entry;
using shoal::queue::places;
using shoal::queue::table_offset;
using shoal::test::bytes_of;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;

segment memory_of(const byte_queue& queue) {
  return segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue);
}

control& control_of(const segment& memory) { return *memory.at<control>(shoal::queue::control_offset); }

/// Whether the call says that the queue was written over.
bool says_corrupt(const std::function<void()>& call) {
  try {
    call();
  } catch (const shoal::error& found) {
    return found.code() == shoal::errc::corrupt_record;
  }
  return false;
}

/// Whether every kind of call says so, and none waits for ever.
bool everything_says_corrupt(byte_queue& queue) {
  const deadline until = after(patience);
  const std::string large(100'000, 'x');
  return says_corrupt([&] { (void)queue.push(encoding::raw, bytes_of("x"), until); }) &&
         says_corrupt([&] { (void)queue.push(encoding::raw, bytes_of(large), until); }) && says_corrupt([&] {
           reserved_record room;
           (void)queue.reserve(room, 100, until);
         }) &&
         says_corrupt([&] {
           record got;
           (void)queue.pop(got, until);
         }) &&
         says_corrupt([&] {
           record_batch got;
           (void)queue.pop_many(got, 10, until);
         }) &&
         says_corrupt([&] {
           borrowed_record got;
           (void)queue.borrow(got, until);
         }) &&
         says_corrupt([&] {
           lease got;
           (void)queue.pop(got, until);
         }) &&
         says_corrupt([&] {
           std::size_t dropped = 0;
           (void)queue.clear(dropped, until);
         }) &&
         says_corrupt([&] { queue.close(); });
}

/// A process writes over the queue and dies as a producer in the middle of a push.
void die_writing_over(const segment& memory, const std::function<void()>& write) {
  process vandal([&] {
    if (control_of(memory).tail.lock.lock_until(after(patience)) != shoal::sync::lock_result::acquired) {
      return 1;
    }
    write();
    return 0;
  });
  ASSERT_TRUE(vandal.join().success());
}

struct damage {
  const char* name;
  std::function<void(const segment&)> write;
};

class ByteQueueRecovery : public testing::TestWithParam<damage> {};

TEST_P(ByteQueueRecovery, OfAQueueThatWasWrittenOverIsAnErrorForEverybodyAtEveryCall) {
  byte_queue queue;
  push(queue, "there");
  push(queue, "on lease");
  lease taken;
  ASSERT_EQ(queue.pop(taken, no_waiting), queue_status::ok);
  reserved_record room;
  ASSERT_EQ(queue.reserve(room, 100), queue_status::ok);
  const segment memory = memory_of(queue);
  die_writing_over(memory, [&] { GetParam().write(memory); });
  EXPECT_TRUE(everything_says_corrupt(queue));
  EXPECT_TRUE(everything_says_corrupt(queue));
  process other([&] { return everything_says_corrupt(queue) ? 0 : 1; });
  EXPECT_TRUE(other.join().success());
  byte_queue late = byte_queue::attach(queue.descriptors());
  EXPECT_TRUE(everything_says_corrupt(late));
  // What was taken before does not keep anybody waiting either.
  EXPECT_TRUE(says_corrupt([&] { (void)queue.push(encoding::raw, room, no_waiting); }));
  room.reset();
  taken = lease();
}

TEST_P(ByteQueueRecovery, OfAQueueThatWasWrittenOverLeavesOthersAlone) {
  byte_queue other;
  {
    byte_queue queue;
    const segment memory = memory_of(queue);
    die_writing_over(memory, [&] { GetParam().write(memory); });
    EXPECT_TRUE(says_corrupt([&] { (void)queue.push(encoding::raw, bytes_of("x")); }));
    EXPECT_EQ(push(other, "while it is there"), queue_status::ok);
  }
  EXPECT_EQ(push(other, "after it"), queue_status::ok);
  EXPECT_EQ(pop(other), "while it is there");
  EXPECT_EQ(pop(other), "after it");
}

INSTANTIATE_TEST_SUITE_P(
    , ByteQueueRecovery,
    testing::Values(damage{"AFreeChunkThatDoesNotExist",
                           [](const segment& memory) { control_of(memory).heap.warm[3] = ~std::uint32_t{0}; }},
                    damage{"AListWithoutEnd",
                           [](const segment& memory) {
                             control_of(memory).heap.warm[0] = 1;  // chunk 0, which follows itself
                             memory.at<chunk>(table_offset)->next.store(1);
                           }},
                    damage{"AChainWithoutEnd",
                           [](const segment& memory) {
                             shoal::queue::heap_state& heap = control_of(memory).heap;
                             chunk* const table = memory.at<chunk>(table_offset);
                             table[1].offset = table[0].offset;
                             table[1].size = table[0].size;
                             table[1].next.store(1);
                             heap.oldest = 1;
                           }},
                    damage{"AReservedChunkThatDoesNotExist",
                           [](const segment& memory) { control_of(memory).reserved[7] = ~std::uint32_t{0}; }},
                    damage{"AChunkWithoutSize",
                           [](const segment& memory) {
                             chunk& first = *memory.at<chunk>(table_offset);
                             first.offset = first.size = 0;
                           }}),
    [](const testing::TestParamInfo<damage>& tested) { return tested.param.name; });

/// A queue in front of which one record waits that has come back from a lease, and its entry in the ledger.
class ByteQueueLedger : public testing::Test {
 protected:
  void SetUp() override {
    push(queue_, "returned");
    lease taken;
    ASSERT_EQ(queue_.pop(taken, no_waiting), queue_status::ok);
    taken = lease();
    ASSERT_EQ(queue_.size(), 1U);
    ASSERT_EQ(entry_->word.load(), shoal::queue::returned_lease);
  }

  void expect_error() {
    for (int turn = 0; turn < 2; ++turn) {
      EXPECT_TRUE(says_corrupt([&] {
        record got;
        (void)queue_.pop(got, no_waiting);
      }));
    }
  }

  byte_queue queue_;
  segment memory_ = memory_of(queue_);
  ledger_entry* entry_ = memory_.at<ledger_entry>(places(memory_.size()).ledger_offset);
};

TEST_F(ByteQueueLedger, AnOffsetBeyondTheChunkIsAnError) {
  for (const std::uint64_t offset :
       {std::uint64_t{1} << 50, ~std::uint64_t{0}, std::uint64_t{shoal::queue::chunk_size}, std::uint64_t{3}}) {
    entry_->offset = offset;
    expect_error();
  }
}

TEST_F(ByteQueueLedger, AChunkThatDoesNotExistIsAnError) {
  entry_->chunk.store(~std::uint32_t{0});
  expect_error();
}

TEST_F(ByteQueueLedger, AnEntryThatIsMissingIsAnError) {
  entry_->word.store(shoal::queue::free_lease);
  expect_error();
}

TEST(ByteQueue, AChunkThatFollowsTheOthersButDoesNotExistIsAnError) {
  byte_queue queue;
  const std::string text(30'000, 'x');
  for (int i = 0; i < 6; ++i) {
    push(queue, text);
  }
  const segment memory = memory_of(queue);
  memory.at<chunk>(table_offset)->next.store(~std::uint32_t{0});
  EXPECT_TRUE(says_corrupt([&] {
    record got;
    for (int i = 0; i < 6; ++i) {
      (void)queue.pop(got, no_waiting);
    }
  }));
}

}  // namespace
