// A process is killed at every instruction of every operation on a queue. The others must not notice more than its
// silence.

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <string>

#include "process_support.hpp"
#include "queue_kill_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"
#include "single_step.hpp"

namespace {

using shoal::byte_queue;
using shoal::encoding;
using shoal::no_waiting;
using shoal::queue_status;
using shoal::record;
using shoal::test::bytes_of;
using shoal::test::one_megabyte;
using shoal::test::operation;
using shoal::test::path;
using shoal::test::queue_under_kill;
using shoal::test::sample;
using shoal::test::shared;

class QueueKilledInEveryInstructionOf : public shoal::test::every_instruction_test {};

TEST_F(QueueKilledInEveryInstructionOf, Push) {
  test(pushing(20, [](queue_under_kill& at) { at.push(20, 2); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushOfSeveralParts) {
  operation tried = pushing(3'000, [](queue_under_kill& at) { at.push(20, 2); });
  const std::string text = sample(987'654'321, 3'000);
  tried.run = [text](byte_queue& queue) {
    const shoal::const_bytes all = bytes_of(text);
    const shoal::const_bytes parts[] = {all.first(5), all.subspan(5, 0), all.subspan(5, 1'000), all.subspan(1'005)};
    return queue.push(encoding::raw, parts, no_waiting);
  };
  test(tried);
}

// Three records of 20,000 bytes fill a chunk. The last few that consumers have left are not used again at once.
TEST_F(QueueKilledInEveryInstructionOf, PushIntoAChunkThatWasLeftByConsumers) {
  test(pushing(10'000, [](queue_under_kill& at) {
    at.push(20'000, 18);
    at.pop(16);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushIntoAFreeChunkThatHasMemory) {
  test(pushing(10'000, [](queue_under_kill& at) {
    at.push(20'000, 18);
    at.pop(16);
    at.push(20'000, 3);  // this takes one of those that are free
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushIntoAFreeChunkWhoseMemoryWentBackToTheSystem) {
  test(pushing(10'000, [](queue_under_kill& at) {
    at.internals.pretend_resident(shoal::test::more_than_is_kept);
    at.push(20'000, 18);
    at.pop(16);
    at.push(20'000, 3);
    ASSERT_NE(at.internals.cold(), 0U);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushThatGrowsTheQueue) {
  test(pushing(6'000, [](queue_under_kill& at) { at.push(20'000, 3); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushThatUsesALargerChunkBecauseNoOtherIsLeft) {
  test(pushing(10'000,
               [](queue_under_kill& at) {
                 ASSERT_THROW(at.push(100'000, 100), std::bad_alloc);
                 at.drain();
               },
               {.max_bytes = one_megabyte}),
       3);
}

TEST_F(QueueKilledInEveryInstructionOf, PushBehindAChunkThatIsFullToTheLastByte) {
  test(pushing(20, [](queue_under_kill& at) { at.push(32'760, 2); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushAfterADeathInTheMiddleOfGrowing) {
  path way;
  test(pushing(6'000, [&](queue_under_kill& at) {
    at.push(20'000, 3);
    const std::string text = sample(1, 6'000);
    die_when(
        way, [&] { return at.queue.push(encoding::raw, bytes_of(text), no_waiting) == queue_status::ok; },
        [&] { return at.internals.chunk_count() == 2; });
    ASSERT_TRUE(at.internals.has_dead_owner());
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushIntoABoundedQueueThatWasFull) {
  test(pushing(20,
               [](queue_under_kill& at) {
                 at.push(20, 4);
                 at.pop(2);
               },
               {.capacity = 4}));
}

TEST_F(QueueKilledInEveryInstructionOf, PushIntoAFullQueueWhichRefusesIt) {
  operation tried = pushing(20, [](queue_under_kill& at) { at.push(20, 4); }, {.capacity = 4});
  tried.result = queue_status::timed_out;
  tried.settle = [](queue_under_kill& at, bool) { EXPECT_EQ(at.queue.size(), 4U); };
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, PushThatMakesAPolledQueueReadable) {
  test(pushing(20, [](queue_under_kill& at) { at.poll_from_now_on(); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushThatMakesAPolledBoundedQueueReadableAgain) {
  test(pushing(20,
               [](queue_under_kill& at) {
                 at.poll_from_now_on();
                 at.push(20, 2);
                 at.drain();
               },
               {.capacity = 2}));
}

TEST_F(QueueKilledInEveryInstructionOf, PushIntoAPolledQueueThatIsReadable) {
  test(pushing(20, [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, Pop) {
  test(popping([](queue_under_kill& at) { at.push(20, 3); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PopOfTheLast) {
  test(popping([](queue_under_kill& at) { at.push(20); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatGoesToTheNextChunk) {
  operation tried = popping([](queue_under_kill& at) {
    at.push(20'000, 9);
    at.push(6'000, 2);
    at.pop(9);
  });
  tried.settle = [settle = tried.settle](queue_under_kill& at, bool completed) {
    settle(at, completed);
    const std::uint32_t chunks = at.internals.chunk_count();
    at.pop();
    at.push(20'000, 3);
    EXPECT_EQ(at.internals.chunk_count(), chunks) << "it has grown instead of using the chunk that was left";
  };
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatGivesTheMemoryOfAChunkBackToTheSystem) {
  test(popping([](queue_under_kill& at) {
    at.internals.pretend_resident(shoal::test::more_than_is_kept);
    at.push(20'000, 6);
    at.pop(3);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PopFromABoundedQueueThatIsFull) {
  test(popping([](queue_under_kill& at) { at.push(20, 4); }, {.capacity = 4}));
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatEmptiesAPolledQueue) {
  test(popping([](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatEmptiesAPolledBoundedQueue) {
  test(popping(
      [](queue_under_kill& at) {
        at.poll_from_now_on();
        at.push(20, 2);
        at.pop();
      },
      {.capacity = 2}));
}

TEST_F(QueueKilledInEveryInstructionOf, PopFromAPolledQueueThatKeepsSome) {
  test(popping([](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20, 2);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PopFromAnEmptyQueueThatIsReadableForNothing) {
  path way;
  operation tried = popping([&](queue_under_kill& at) {
    at.poll_from_now_on();
    die_when(
        way, [&] { return at.queue.push(encoding::raw, shoal::const_bytes{}, no_waiting) == queue_status::ok; },
        [&] { return at.is_readable(); });
    ASSERT_TRUE(at.is_readable());
    ASSERT_TRUE(at.queue.empty());
  });
  tried.result = queue_status::timed_out;
  tried.settle = [](queue_under_kill& at, bool) { EXPECT_TRUE(at.queue.empty()); };
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatClaims) {
  const shared<std::atomic<std::uint64_t>> claim;
  operation tried = popping([&](queue_under_kill& at) {
    claim->store(0);
    at.push(20, 3);
    at.pop();
  });
  tried.run = [&](byte_queue& queue) {
    record got;
    return queue.pop(got, *claim, no_waiting);
  };
  tried.settle = [&](queue_under_kill& at, bool completed) {
    const std::uint64_t claimed = claim->load();
    const bool gone = at.settle_pop();
    EXPECT_TRUE(gone || !completed);
    EXPECT_TRUE(claimed == 0 || claimed == 2) << claimed;  // the second record, whose ticket is 1
    EXPECT_EQ(claimed != 0 && at.queue.popped() >= claimed, gone) << "the claim misleads";
  };
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, Close) {
  operation tried{.options = {},
                  .prepare = [](queue_under_kill& at) { at.push(20, 2); },
                  .run =
                      [](byte_queue& queue) {
                        queue.close();
                        return queue_status::ok;
                      },
                  .settle = [](queue_under_kill& at, bool completed) { EXPECT_TRUE(at.queue.closed() || !completed); }};
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, CloseOfAPolledEmptyQueue) {
  operation tried{.options = {},
                  .prepare = [](queue_under_kill& at) { at.poll_from_now_on(); },
                  .run =
                      [](byte_queue& queue) {
                        queue.close();
                        return queue_status::ok;
                      },
                  .settle = [](queue_under_kill& at, bool completed) { EXPECT_TRUE(at.queue.closed() || !completed); }};
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, AskingForTheDescriptor) {
  operation tried{
      .options = {},
      .prepare = [](queue_under_kill& at) { at.push(20); },
      .run = [](byte_queue& queue) { return queue.native_handle() >= 0 ? queue_status::ok : queue_status::closed; },
      .settle =
          [](queue_under_kill& at, bool) {
            at.poll_from_now_on();
            at.expect_readable_unless_empty();
          }};
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, PushThatFindsABoundedPolledQueueFull) {
  operation tried = pushing(20,
                            [](queue_under_kill& at) {
                              at.poll_room_from_now_on();
                              at.push(20, 2);
                            },
                            {.capacity = 2});
  tried.result = queue_status::timed_out;
  tried.settle = [](queue_under_kill& at, bool) { EXPECT_EQ(at.queue.size(), 2U); };
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatMakesRoomInAPolledFullQueue) {
  test(popping(
      [](queue_under_kill& at) {
        at.poll_room_from_now_on();
        at.push(20, 2);
        ASSERT_EQ(at.queue.push(encoding::raw, shoal::const_bytes{}, no_waiting), queue_status::timed_out);
      },
      {.capacity = 2}));
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatMakesRoomInAPolledQueueBoundedInBytes) {
  test(popping(
      [](queue_under_kill& at) {
        at.poll_room_from_now_on();
        at.push(20, 5);
        ASSERT_EQ(at.queue.push(encoding::raw, shoal::const_bytes{}, no_waiting), queue_status::timed_out);
      },
      {.capacity_bytes = 130}));
}

TEST_F(QueueKilledInEveryInstructionOf, AskingForTheDescriptorOfRoom) {
  test({.options = {.capacity = 2},
        .prepare = [](queue_under_kill& at) { at.push(20); },
        .run = [](byte_queue& queue) { return queue.room_handle() >= 0 ? queue_status::ok : queue_status::closed; },
        .settle =
            [](queue_under_kill& at, bool) {
              at.poll_room_from_now_on();
              at.expect_readable_unless_empty();
            }});
}

TEST_F(QueueKilledInEveryInstructionOf, CloseOfAFullQueueWhoseRoomIsPolled) {
  test({.options = {.capacity = 2},
        .prepare =
            [](queue_under_kill& at) {
              at.poll_room_from_now_on();
              at.push(20, 2);
              ASSERT_EQ(at.queue.push(encoding::raw, shoal::const_bytes{}, no_waiting), queue_status::timed_out);
            },
        .run = [](byte_queue& queue) { return queue.close(no_waiting); },
        .settle = [](queue_under_kill& at, bool completed) { EXPECT_TRUE(at.queue.closed() || !completed); }});
}

TEST_F(QueueKilledInEveryInstructionOf, Clear) {
  test({.options = {.capacity = 8},
        .prepare =
            [](queue_under_kill& at) {
              at.poll_from_now_on();
              at.poll_room_from_now_on();
              at.push(20'000, 7);
            },
        .run =
            [](byte_queue& queue) {
              std::size_t dropped = 0;
              const queue_status status = queue.clear(dropped, no_waiting);
              return dropped == 7 ? status : queue_status::timed_out;
            },
        .settle =
            [](queue_under_kill& at, bool completed) {
              const std::size_t dropped = at.settle_pops(7);
              EXPECT_TRUE(dropped == 7 || (dropped == 0 && !completed)) << dropped << " were dropped";
            }});
}

TEST_F(QueueKilledInEveryInstructionOf, TaskDone) {
  test({.options = {},
        .prepare =
            [](queue_under_kill& at) {
              at.push(20, 2);
              at.pop(2);
              ASSERT_TRUE(at.queue.task_done());
            },
        .run = [](byte_queue& queue) { return queue.task_done() ? queue_status::ok : queue_status::timed_out; },
        .settle =
            [](queue_under_kill& at, bool completed) {
              EXPECT_LE(at.queue.unfinished(), completed ? 0U : 1U);
              if (at.queue.unfinished() == 1) {
                EXPECT_TRUE(at.queue.task_done());
              }
              EXPECT_FALSE(at.queue.task_done());
              EXPECT_EQ(at.queue.wait_until_done(no_waiting), queue_status::ok);
            }});
}

}  // namespace
