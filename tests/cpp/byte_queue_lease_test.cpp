// Records on lease: acknowledged, given back, or back by themselves.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "byte_queue_support.hpp"
#include "process_support.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::byte_queue;
using shoal::lease;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::record_batch;
using shoal::test::becomes_readable;
using shoal::test::eventually;
using shoal::test::is_readable;
using shoal::test::open_descriptors;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;

lease take(byte_queue& queue) {
  lease taken;
  EXPECT_EQ(queue.pop(taken, after(patience)), queue_status::ok);
  return taken;
}

std::string text_of(const lease& from) {
  return {reinterpret_cast<const char*>(from.bytes().data()), from.bytes().size()};
}

bool is_empty(byte_queue& queue) {
  record got;
  return queue.pop(got, no_waiting) == queue_status::timed_out;
}

TEST(ByteQueue, ALeaseThatIsAcknowledgedDoesNotComeBack) {
  byte_queue queue;
  push(queue, "once");
  lease taken = take(queue);
  EXPECT_EQ(text_of(taken), "once");
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_EQ(queue.leased(), 1U);
  EXPECT_TRUE(taken.acknowledge());
  EXPECT_FALSE(taken.acknowledge());
  EXPECT_FALSE(taken.active());
  taken = lease();
  EXPECT_EQ(queue.leased(), 0U);
  EXPECT_TRUE(is_empty(queue));
}

TEST(ByteQueue, ALeaseThatIsGivenBackIsFirstInLine) {
  byte_queue queue;
  for (const char* text : {"1", "2", "3", "4"}) {
    push(queue, text);
  }
  lease first = take(queue);
  lease second = take(queue);
  EXPECT_EQ(second.give_back(), queue_status::ok);
  EXPECT_EQ(first.give_back(), queue_status::ok);
  EXPECT_EQ(queue.size(), 4U);
  for (const char* text : {"1", "2", "3", "4"}) {
    EXPECT_EQ(pop(queue), text);  // the oldest first, however they came back
  }
}

TEST(ByteQueue, ALeaseThatEndsUnacknowledgedComesBack) {
  byte_queue queue;
  push(queue, "again");
  { const lease taken = take(queue); }
  EXPECT_EQ(queue.size(), 1U);
  lease taken = take(queue);  // on lease a second time
  EXPECT_EQ(text_of(taken), "again");
  EXPECT_EQ(taken.ticket(), 0U);
  EXPECT_TRUE(taken.acknowledge());
  EXPECT_TRUE(is_empty(queue));
}

TEST(ByteQueue, WhatComesBackCanBeTakenByEveryKindOfPop) {
  byte_queue queue;
  push(queue, std::string(100'000, 'L'));
  push(queue, "s");
  { const lease large = take(queue); }
  shoal::borrowed_record borrowed;
  ASSERT_EQ(queue.borrow(borrowed, no_waiting), queue_status::ok);
  EXPECT_EQ(borrowed.bytes().size(), 100'000U);
  { const lease small = take(queue); }
  record_batch got;
  ASSERT_EQ(queue.pop_many(got, 9, no_waiting), queue_status::ok);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].bytes.size(), 1U);
}

TEST(ByteQueue, LeasesOfAKilledProcessComeBackFirstInLine) {
  byte_queue queue;
  byte_queue ready;
  byte_queue never;
  for (int i = 0; i < 5; ++i) {
    push(queue, std::to_string(i));
  }
  process victim([&] {
    const lease first = take(queue);
    lease second = take(queue);
    const lease third = take(queue);
    second.acknowledge();
    push(ready, "holds two");
    pop(never);
  });
  ASSERT_EQ(pop(ready), "holds two");
  EXPECT_EQ(queue.size(), 2U);
  victim.kill();
  ASSERT_TRUE(victim.join().signaled());
  // The queue is never empty meanwhile.
  std::vector<std::string> came;
  EXPECT_TRUE(eventually([&] {
    push(queue, "more");
    if (std::string next = pop(queue); next != "more") {
      came.push_back(std::move(next));
    }
    return came.size() == 4;
  }));
  EXPECT_LT(std::find(came.begin(), came.end(), "0"), std::find(came.begin(), came.end(), "2"));
  std::sort(came.begin(), came.end());
  EXPECT_EQ(came, (std::vector<std::string>{"0", "2", "3", "4"}));
}

TEST(ByteQueue, ASleepingConsumerGetsTheLeaseOfAKilledProcess) {
  byte_queue queue;
  byte_queue ready;
  byte_queue never;
  push(queue, "inherited");
  process victim([&] {
    const lease taken = take(queue);
    push(ready, "has it");
    pop(never);
  });
  ASSERT_EQ(pop(ready), "has it");
  process heir([&] { return pop(queue) == "inherited" ? 0 : 1; });
  victim.kill();
  EXPECT_TRUE(heir.join().success());
  EXPECT_TRUE(victim.join().signaled());
}

TEST(ByteQueue, APollerHearsOfTheLeaseOfAKilledProcess) {
  byte_queue queue;
  byte_queue ready;
  byte_queue never;
  const int fd = queue.native_handle();
  for (int turn = 0; turn < 20; ++turn) {
    push(queue, "inherited");
    process victim([&] {
      const lease taken = take(queue);
      push(ready, "has it");
      pop(never);
    });
    ASSERT_EQ(pop(ready), "has it");
    ASSERT_TRUE(is_empty(queue));
    victim.kill();
    record got;
    queue_status status{};
    do {
      ASSERT_TRUE(becomes_readable(fd)) << "nobody said that the record is back";
      status = queue.pop(got, no_waiting);
    } while (status == queue_status::timed_out || status == queue_status::busy);
    ASSERT_EQ(status, queue_status::ok);
    ASSERT_TRUE(victim.join().signaled());
  }
  EXPECT_TRUE(is_empty(queue));
  EXPECT_FALSE(is_readable(fd));
}

TEST(ByteQueue, AGivenBackLeaseMakesAPolledQueueReadable) {
  byte_queue queue;
  push(queue, "x");
  const int fd = queue.native_handle();
  lease taken = take(queue);
  EXPECT_TRUE(is_empty(queue));
  EXPECT_FALSE(is_readable(fd));
  EXPECT_EQ(taken.give_back(), queue_status::ok);
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(pop(queue), "x");
  EXPECT_FALSE(is_readable(fd));
}

TEST(ByteQueue, ALeaseIsNotItsHoldersChilds) {
  byte_queue queue;
  push(queue, "parent's");
  lease taken = take(queue);
  process child([&] {
    const bool did_nothing = !taken.acknowledge();
    return did_nothing && queue.size() == 0 ? 0 : 1;
  });
  EXPECT_TRUE(child.join().success());
  EXPECT_EQ(queue.leased(), 1U);
  EXPECT_EQ(taken.give_back(), queue_status::ok);
  EXPECT_EQ(pop(queue), "parent's");
}

TEST(ByteQueue, ALeaseComesBackThoughAChildOfItsHolderLivesOn) {
  byte_queue queue;
  byte_queue ready;
  byte_queue never;
  push(queue, "x");
  process holder([&] {
    const lease taken = take(queue);
    process grandchild([&] { return pop(never) == "end" ? 0 : 1; });
    push(ready, "forked");
    pop(never);
    grandchild.join();
  });
  ASSERT_EQ(pop(ready), "forked");
  holder.kill();
  EXPECT_TRUE(holder.join().signaled());
  EXPECT_EQ(pop(queue), "x");
  push(never, "end");
}

TEST(ByteQueue, ThousandsOfLeasesComeBackInOrder) {
  byte_queue queue;
  constexpr int count = 3000;
  std::vector<lease> held;
  for (int i = 0; i < count; ++i) {
    push(queue, std::to_string(i));
    held.push_back(take(queue));
  }
  EXPECT_EQ(queue.leased(), static_cast<std::size_t>(count));
  for (int i = 0; i < count; i += 3) {
    held[static_cast<std::size_t>(i)].acknowledge();
  }
  held.clear();
  for (int i = 0; i < count; ++i) {
    if (i % 3 != 0) {
      ASSERT_EQ(pop(queue), std::to_string(i));
    }
  }
  EXPECT_TRUE(is_empty(queue));
}

TEST(ByteQueue, ALeaseKeepsItsRecordWhileItsChunkIsLeftFarBehind) {
  byte_queue queue;
  push(queue, "kept");
  lease taken = take(queue);
  for (int i = 0; i < 10'000; ++i) {
    push(queue, std::string(500, 'x'));
    pop(queue);
  }
  taken = lease();
  EXPECT_EQ(pop(queue), "kept");
}

TEST(ByteQueue, ALeaseOutlivesItsQueueAndLeavesNothingBehind) {
  const std::ptrdiff_t before = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    auto queue = std::make_unique<byte_queue>();
    push(*queue, "x");
    lease taken = take(*queue);
    queue.reset();
    EXPECT_TRUE(taken.acknowledge());
  }
  EXPECT_LE(open_descriptors(), before + 1);  // one for the notices of death of the whole process
}

TEST(ByteQueue, ClearDropsWhatCameBackAndNotWhatIsOut) {
  byte_queue queue;
  push(queue, "back");
  push(queue, "out");
  push(queue, "there");
  lease back = take(queue);
  lease out = take(queue);
  back = lease();
  std::size_t dropped = 0;
  EXPECT_EQ(queue.clear(dropped), queue_status::ok);
  EXPECT_EQ(dropped, 2U);
  EXPECT_TRUE(is_empty(queue));
  out = lease();
  EXPECT_EQ(pop(queue), "out");
}

}  // namespace
