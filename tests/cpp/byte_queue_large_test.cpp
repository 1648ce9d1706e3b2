// Large records: written and read in place, and what becomes of their memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "byte_queue_support.hpp"
#include "process_support.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::borrowed_record;
using shoal::byte_queue;
using shoal::encoding;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::reserved_record;
using shoal::test::bytes_of;
using shoal::test::is_readable;
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

void push_filled(byte_queue& queue, std::size_t size, char with) {
  reserved_record room;
  ASSERT_EQ(queue.reserve(room, size), queue_status::ok);
  std::memset(room.bytes().data(), with, size);
  ASSERT_EQ(queue.push(encoding::raw, room), queue_status::ok);
}

borrowed_record borrow(byte_queue& queue) {
  borrowed_record got;
  EXPECT_EQ(queue.borrow(got, after(patience)), queue_status::ok);
  return got;
}

bool is_filled(shoal::const_bytes bytes, std::size_t size, char with) {
  return bytes.size() == size &&
         std::all_of(bytes.begin(), bytes.end(), [&](std::byte one) { return one == static_cast<std::byte>(with); });
}

TEST(ByteQueue, AReservedRecordIsWrittenInPlaceAndBorrowedInPlace) {
  byte_queue queue;
  push_filled(queue, 3 * mebibyte, 'a');
  const borrowed_record got = borrow(queue);
  EXPECT_TRUE(got.in_place());
  EXPECT_EQ(got.tag(), encoding::raw);
  EXPECT_TRUE(is_filled(got.bytes(), 3 * mebibyte, 'a'));
  EXPECT_EQ(got.writable_bytes().data(), got.bytes().data());
  EXPECT_EQ(queue.size(), 0U);
}

TEST(ByteQueue, ASmallRecordIsBorrowedAsACopy) {
  byte_queue queue;
  push(queue, "small");
  const borrowed_record got = borrow(queue);
  EXPECT_FALSE(got.in_place());
  EXPECT_EQ(std::memcmp(got.bytes().data(), "small", 5), 0);
  EXPECT_TRUE(got.writable_bytes().empty());
}

TEST(ByteQueue, ReservedRecordsOfAllSizesComeOutInTheOrderOfTheirPush) {
  byte_queue queue;
  reserved_record first;
  reserved_record second;
  ASSERT_EQ(queue.reserve(first, 10), queue_status::ok);
  ASSERT_EQ(queue.reserve(second, 100'000), queue_status::ok);
  std::memset(first.bytes().data(), '1', 10);
  std::memset(second.bytes().data(), '2', 100'000);
  ASSERT_EQ(queue.push(encoding::raw, second), queue_status::ok);
  push(queue, "between");
  ASSERT_EQ(queue.push(encoding::raw, first), queue_status::ok);
  push(queue, "last");
  EXPECT_EQ(pop(queue), std::string(100'000, '2'));
  EXPECT_EQ(pop(queue), "between");
  EXPECT_EQ(pop(queue), std::string(10, '1'));
  EXPECT_EQ(pop(queue), "last");
}

TEST(ByteQueue, AReservedRecordCannotBePushedTwiceNorIntoAnotherQueue) {
  byte_queue queue;
  byte_queue other;
  reserved_record room;
  ASSERT_EQ(queue.reserve(room, 100), queue_status::ok);
  EXPECT_THROW(other.push(encoding::raw, room), std::invalid_argument);
  ASSERT_EQ(queue.push(encoding::raw, room), queue_status::ok);
  EXPECT_THROW(queue.push(encoding::raw, room), std::invalid_argument);
  EXPECT_THROW(queue.reserve(room, 0), std::invalid_argument);
  EXPECT_EQ(queue.size(), 1U);
}

TEST(ByteQueue, ARecordThatCannotBeIsRefusedBeforeAnythingHappens) {
  byte_queue queue;
  reserved_record room;
  for (const std::size_t size : {~std::size_t{0}, ~std::size_t{0} - 8, std::size_t{1} << 63, std::size_t{1} << 47}) {
    EXPECT_THROW((void)queue.reserve(room, size), std::bad_alloc) << size;
  }
  push(queue, "usable");
  EXPECT_EQ(pop(queue), "usable");
}

TEST(ByteQueue, ALargeRecordRefusedByAFullQueueLowersItsRoomDescriptor) {
  byte_queue queue({.capacity = 1});
  push(queue, "1");
  const int fd = queue.room_handle();
  queue.push(encoding::raw, bytes_of(std::string(100'000, 'x')), no_waiting);
  EXPECT_FALSE(is_readable(fd));
  EXPECT_EQ(pop(queue), "1");
  EXPECT_TRUE(is_readable(fd));
}

TEST(ByteQueue, AReservedRecordThatIsNotPushedGivesItsMemoryBack) {
  byte_queue queue({.max_bytes = 8 * mebibyte});
  for (int i = 0; i < 100; ++i) {
    reserved_record room;
    ASSERT_EQ(queue.reserve(room, 2 * mebibyte), queue_status::ok) << i;
  }
}

TEST(ByteQueue, AReservedRecordWaitsForRoomAndIsKeptIfThereIsNone) {
  byte_queue queue({.capacity = 1});
  push(queue, "1");
  reserved_record room;
  ASSERT_EQ(queue.reserve(room, 5), queue_status::ok);
  std::memcpy(room.bytes().data(), "later", 5);
  EXPECT_EQ(queue.push(encoding::raw, room, no_waiting), queue_status::timed_out);
  EXPECT_EQ(queue.push(encoding::raw, room, after(10ms)), queue_status::timed_out);
  EXPECT_EQ(pop(queue), "1");
  EXPECT_EQ(queue.push(encoding::raw, room, no_waiting), queue_status::ok);
  EXPECT_EQ(pop(queue), "later");
}

TEST(ByteQueue, BorrowedRecordsAreGivenBackInAnyOrderOnAnyThread) {
  byte_queue queue({.max_bytes = 32 * mebibyte});
  for (int turn = 0; turn < 50; ++turn) {
    std::vector<borrowed_record> held;
    for (char with : {'a', 'b', 'c', 'd'}) {
      push_filled(queue, mebibyte, with);
      held.push_back(borrow(queue));
    }
    std::swap(held[0], held[static_cast<std::size_t>(turn % 4)]);
    std::thread other([half = std::move(held[0])]() mutable { half.reset(); });
    other.join();
    for (const borrowed_record& one : held) {
      if (one.in_place()) {
        EXPECT_TRUE(is_filled(one.bytes(), mebibyte, static_cast<char>(one.bytes()[0])));
      }
    }
  }
}

TEST(ByteQueue, ABorrowedRecordOutlivesItsQueue) {
  auto queue = std::make_unique<byte_queue>();
  push_filled(*queue, mebibyte, 'q');
  borrowed_record got = borrow(*queue);
  queue.reset();
  EXPECT_TRUE(is_filled(got.bytes(), mebibyte, 'q'));
}

TEST(ByteQueue, WhatIsBorrowedIsNotWrittenOverWhileManyOthersComeAndGo) {
  byte_queue queue({.max_bytes = 64 * mebibyte});
  std::vector<borrowed_record> held;
  for (char with = 'a'; with < 'a' + 8; ++with) {
    push_filled(queue, mebibyte, with);
    held.push_back(borrow(queue));
  }
  for (int i = 0; i < 300; ++i) {
    push_filled(queue, mebibyte, 'x');
    push(queue, std::string(30'000, 'y'));
    borrow(queue);
    EXPECT_EQ(pop(queue).size(), 30'000U);
  }
  for (std::size_t i = 0; i < held.size(); ++i) {
    EXPECT_TRUE(is_filled(held[i].bytes(), mebibyte, static_cast<char>('a' + i)));
  }
}

TEST(ByteQueue, WhatAKilledProcessHadBorrowedAndReservedComesBack) {
  byte_queue queue({.max_bytes = 16 * mebibyte});
  byte_queue ready;
  byte_queue never;
  for (int turn = 0; turn < 20; ++turn) {
    push_filled(queue, 4 * mebibyte, 'k');
    process victim([&] {
      const borrowed_record got = borrow(queue);
      reserved_record room;
      if (queue.reserve(room, 4 * mebibyte) != queue_status::ok) {
        return;
      }
      push(ready, "holds both");
      pop(never);
    });
    ASSERT_EQ(pop(ready), "holds both");
    victim.kill();
    ASSERT_TRUE(victim.join().signaled());
  }
}

TEST(ByteQueue, WhatWasBorrowedBeforeAForkStaysUntilBothHaveLetGo) {
  byte_queue queue({.max_bytes = 32 * mebibyte});
  byte_queue orders;
  push_filled(queue, 4 * mebibyte, 'f');
  borrowed_record got = borrow(queue);
  process child([&] {
    const bool ok = pop(orders) == "look" && is_filled(got.bytes(), 4 * mebibyte, 'f');
    got.reset();
    return ok ? 0 : 1;
  });
  got.reset();  // the parent's
  for (int i = 0; i < 50; ++i) {
    push_filled(queue, 4 * mebibyte, 'x');
    borrow(queue);
  }
  push(orders, "look");
  EXPECT_TRUE(child.join().success());
}

TEST(ByteQueue, WhatWasBorrowedBeforeAForkIsFreeOnceBothHaveLetGo) {
  byte_queue queue({.max_bytes = 24 * mebibyte});  // room for two such records
  byte_queue orders;
  byte_queue answers;
  push_filled(queue, 8 * mebibyte, 'f');
  borrowed_record got = borrow(queue);
  process child([&] {
    got.reset();
    push(answers, "let go");
    pop(orders);  // lives on
  });
  got.reset();
  EXPECT_EQ(pop(answers), "let go");
  bool has_room = true;
  try {
    push_filled(queue, 8 * mebibyte, 'g');
    got = borrow(queue);
    push_filled(queue, 8 * mebibyte, 'h');
  } catch (const std::bad_alloc&) {
    has_room = false;
  }
  EXPECT_TRUE(has_room);
  push(orders, "end");
  EXPECT_TRUE(child.join().success());
}

TEST(ByteQueue, AForkWhileLargeRecordsAreInUseDoesNotLoseTheirMemory) {
  byte_queue queue({.max_bytes = 24 * mebibyte});
  for (int turn = 0; turn < 30; ++turn) {
    push_filled(queue, 4 * mebibyte, 'm');
    borrowed_record got = borrow(queue);
    process child([] { return 0; });
    got.reset();
    ASSERT_TRUE(child.join().success());
  }
}

TEST(ByteQueue, LargeRecordsOfAllProcessesArriveWhole) {
  byte_queue queue({.capacity = 4});
  constexpr int each = 60;
  const auto produce = [&](char with) {
    return [&queue, with] {
      for (int i = 0; i < each; ++i) {
        const std::string text(40'000 + 10'000 * static_cast<std::size_t>(i % 7), with);
        if (push(queue, text, after(patience)) != queue_status::ok) {
          return 1;
        }
      }
      return 0;
    };
  };
  process first(produce('1'));
  process second(produce('2'));
  int counts[2] = {};
  for (int i = 0; i < 2 * each; ++i) {
    const borrowed_record got = borrow(queue);
    const auto with = static_cast<char>(got.bytes()[0]);
    int& count = counts[with - '1'];
    ASSERT_TRUE(is_filled(got.bytes(), 40'000 + 10'000 * static_cast<std::size_t>(count % 7), with));
    ++count;
  }
  EXPECT_TRUE(first.join().success());
  EXPECT_TRUE(second.join().success());
  EXPECT_EQ(counts[0], each);
}

TEST(ByteQueue, MemoryOfABurstOfSmallRecordsGoesBackToTheSystem) {
  byte_queue queue;
  const std::string text(1000, 'x');
  constexpr std::size_t count = 200'000;
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(push(queue, text), queue_status::ok);
  }
  EXPECT_GE(resident(queue), count * text.size());
  record got;
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(queue.pop(got, no_waiting), queue_status::ok);
  }
  EXPECT_LT(resident(queue), 64 * mebibyte);
}

TEST(ByteQueue, MemoryOfABurstOfLargeRecordsGoesBackToTheSystem) {
  byte_queue queue;
  for (int i = 0; i < 64; ++i) {
    push_filled(queue, 4 * mebibyte, 'x');
  }
  EXPECT_GE(resident(queue), 256 * mebibyte);
  for (int i = 0; i < 64; ++i) {
    borrow(queue);
  }
  EXPECT_LT(resident(queue), 64 * mebibyte);
  // And what went back can be used again.
  for (int i = 0; i < 64; ++i) {
    push_filled(queue, 4 * mebibyte, 'y');
    EXPECT_TRUE(is_filled(borrow(queue).bytes(), 4 * mebibyte, 'y'));
  }
}

TEST(ByteQueue, MemoryOfClearedRecordsGoesBackToTheSystem) {
  byte_queue queue;
  for (int i = 0; i < 32; ++i) {
    push_filled(queue, 4 * mebibyte, 'x');
    push(queue, "small");
  }
  std::size_t dropped = 0;
  EXPECT_EQ(queue.clear(dropped), queue_status::ok);
  EXPECT_EQ(dropped, 64U);
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_LT(resident(queue), 64 * mebibyte);
  push(queue, "after");
  EXPECT_EQ(pop(queue), "after");
}

TEST(ByteQueue, AQueueThatStaysSmallUsesTheSameMemoryAgainAndAgain) {
  byte_queue queue;
  const std::string text(1000, 'x');
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_EQ(push(queue, text), queue_status::ok);
    ASSERT_EQ(pop(queue).size(), text.size());
  }
  EXPECT_LT(resident(queue), mebibyte);
}

}  // namespace
