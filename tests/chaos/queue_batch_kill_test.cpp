// A process is killed at every instruction of a push or pop of many records.

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "queue_kill_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"

namespace {

using shoal::byte_queue;
using shoal::const_bytes;
using shoal::encoding;
using shoal::no_waiting;
using shoal::outgoing_record;
using shoal::queue_options;
using shoal::queue_status;
using shoal::record_batch;
using shoal::test::bytes_of;
using shoal::test::one_megabyte;
using shoal::test::operation;
using shoal::test::queue_under_kill;
using shoal::test::sample;

class QueueKilledInEveryInstructionOfABatch : public shoal::test::every_instruction_test {
 protected:
  /// @param lengths  of what is pushed; they may be a part of it. @param fitting  so many there is room for.
  static operation pushing_many(const std::vector<std::size_t>& lengths, std::size_t fitting,
                                std::function<void(queue_under_kill&)> prepare, queue_options options = {}) {
    std::vector<std::string> texts;
    for (const std::size_t length : lengths) {
      texts.push_back(sample(700 + texts.size(), length));
    }
    return {.options = std::move(options),
            .prepare = std::move(prepare),
            .run =
                [texts, fitting](byte_queue& queue) {
                  std::vector<const_bytes> parts;
                  parts.reserve(texts.size());
                  std::vector<outgoing_record> records;
                  for (const std::string& text : texts) {
                    records.push_back({encoding::raw, {&parts.emplace_back(bytes_of(text)), 1}});
                  }
                  std::size_t pushed = 0;
                  const queue_status status = queue.push_many(records, pushed, no_waiting);
                  return pushed == fitting ? status : queue_status::closed;
                },
            .settle =
                [texts, fitting](queue_under_kill& at, bool completed) {
                  const std::size_t pushed = at.settle_pushes(texts);
                  EXPECT_TRUE(pushed == fitting || (pushed == 0 && !completed)) << pushed << " of " << fitting;
                },
            .result = fitting == lengths.size() ? queue_status::ok : queue_status::timed_out};
  }

  static operation popping_many(std::size_t most, std::size_t taken, std::function<void(queue_under_kill&)> prepare,
                                queue_options options = {}) {
    return {.options = std::move(options),
            .prepare = std::move(prepare),
            .run =
                [most, taken](byte_queue& queue) {
                  record_batch got;
                  const queue_status status = queue.pop_many(got, most, no_waiting);
                  return got.size() == taken ? status : queue_status::closed;
                },
            .settle =
                [taken](queue_under_kill& at, bool completed) {
                  const std::size_t popped = at.settle_pops(taken);
                  EXPECT_TRUE(popped == taken || (popped == 0 && !completed)) << popped << " of " << taken;
                }};
  }
};

TEST_F(QueueKilledInEveryInstructionOfABatch, PushManyWithinAChunk) {
  test(pushing_many({20, 0, 3'000, 20}, 4, [](queue_under_kill& at) { at.push(20, 2); }), 3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PushManyOverSeveralChunksIntoAPolledQueue) {
  test(pushing_many({20'000, 30'000, 30'000, 30'000, 20'000, 20}, 6,
                    [](queue_under_kill& at) {
                      at.poll_from_now_on();
                      at.push(20'000, 6);
                      at.pop(6);
                    }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PushManyIntoABoundedQueueWithRoomForAPart) {
  test(pushing_many({20, 20, 20, 20}, 2,
                    [](queue_under_kill& at) {
                      at.poll_room_from_now_on();
                      at.push(20, 3);
                    },
                    {.capacity = 5}),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PushManyWithALargeRecordAmongThem) {
  operation tried =
      pushing_many({20, 20, 40'000, 20}, 4, [](queue_under_kill& at) { at.push(20); }, {.max_bytes = one_megabyte});
  tried.settle = [texts = std::vector<std::string>{sample(700, 20), sample(701, 20), sample(702, 40'000),
                                                   sample(703, 20)}](queue_under_kill& at, bool completed) {
    const std::size_t pushed = at.settle_pushes(texts);
    EXPECT_NE(pushed, 1U) << "those before the large one are pushed together";
    EXPECT_TRUE(pushed == 4 || !completed) << pushed;
  };
  test(tried, 7);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PopManyWithinAChunk) {
  test(popping_many(3, 3, [](queue_under_kill& at) { at.push(20, 5); }), 3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PopManyOfAllOverSeveralChunksFromAPolledQueue) {
  test(popping_many(100, 7,
                    [](queue_under_kill& at) {
                      at.poll_from_now_on();
                      at.push(20'000, 7);
                    }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PopManyFromAFullQueueWhoseRoomIsPolled) {
  test(popping_many(3, 3,
                    [](queue_under_kill& at) {
                      at.poll_room_from_now_on();
                      at.push(20, 5);
                      ASSERT_EQ(at.queue.push(encoding::raw, const_bytes{}, no_waiting), queue_status::timed_out);
                    },
                    {.capacity = 5}),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PopManyThatStopsBeforeALargeRecord) {
  test(popping_many(10, 2,
                    [](queue_under_kill& at) {
                      at.push(20, 2);
                      at.push(100'000);
                    }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfABatch, PopManyOfALargeRecord) {
  test(popping_many(10, 1,
                    [](queue_under_kill& at) {
                      at.push(100'000);
                      at.push(20, 2);
                    },
                    {.max_bytes = one_megabyte}),
       7);
}

}  // namespace
