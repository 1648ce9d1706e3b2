// A process is killed at every instruction of every operation on a queue. The others must not notice more than its
// silence.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <random>
#include <string>

#include "process_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"
#include "single_step.hpp"

namespace {

using shoal::byte_queue;
using shoal::encoding;
using shoal::no_waiting;
using shoal::queue_options;
using shoal::queue_status;
using shoal::record;
using shoal::test::bytes_of;
using shoal::test::chaos_is_long;
using shoal::test::fate;
using shoal::test::path;
using shoal::test::queue_under_kill;
using shoal::test::sample;
using shoal::test::shared;
using shoal::test::stepped_process;

/// An operation that a process dies of.
struct operation {
  queue_options options;
  std::function<void(queue_under_kill&)> prepare;
  std::function<queue_status(byte_queue&)> run;
  std::function<void(queue_under_kill&, bool completed)> settle;
  queue_status result = queue_status::ok;
};

class QueueKilledInEveryInstructionOf : public testing::Test {
 protected:
  void SetUp() override {
    if (!shoal::test::can_single_step) {
      GTEST_SKIP() << shoal::test::why_no_single_step;
    }
  }

  void test(const operation& tried) {
    path way;
    ASSERT_NO_FATAL_FAILURE(try_kill(tried, {.finds = &way}));
    way.find_landmarks();
    dead_owners_ = 0;
    int points = 0;
    const long all = instructions_;
    for (long instructions = 0; instructions < all && !HasFailure(); instructions += way.stride_at(instructions)) {
      ASSERT_NO_FATAL_FAILURE(try_kill(tried, {.instructions = instructions, .follows = &way}));
      ++points;
    }
    RecordProperty("kill_points", points);
    RecordProperty("dead_lock_owners", dead_owners_);
    std::printf("%d kill points in %ld instructions, %d left a dead lock owner\n", points, all, dead_owners_);
  }

  // What a push of a text comes to.
  static operation pushing(std::size_t length, std::function<void(queue_under_kill&)> prepare,
                           queue_options options = {}) {
    const std::string text = sample(987'654'321, length);
    return {.options = std::move(options),
            .prepare = std::move(prepare),
            .run = [text](byte_queue& queue) { return queue.push(encoding::raw, bytes_of(text), no_waiting); },
            .settle = [text](queue_under_kill& at,
                             bool completed) { EXPECT_TRUE(at.settle_push(text) || !completed) << "lost"; }};
  }

  static operation popping(std::function<void(queue_under_kill&)> prepare, queue_options options = {}) {
    return {.options = std::move(options),
            .prepare = std::move(prepare),
            .run =
                [](byte_queue& queue) {
                  record got;
                  return queue.pop(got, no_waiting);
                },
            .settle = [](queue_under_kill& at,
                         bool completed) { EXPECT_TRUE(at.settle_pop() || !completed) << "not gone"; }};
  }

 private:
  void try_kill(const operation& tried, const fate& planned) {
    queue_under_kill at(tried.options);
    ASSERT_NO_FATAL_FAILURE(tried.prepare(at));
    stepped_process victim([&] { return tried.run(at.queue) == tried.result; }, planned);
    const bool good = victim.join();
    instructions_ = victim.instructions();
    SCOPED_TRACE(victim.where());
    EXPECT_TRUE(good || !victim.completed()) << "the operation itself failed";
    dead_owners_ += at.internals.has_dead_owner() ? 1 : 0;

    at.expect_readable_unless_empty();
    tried.settle(at, victim.completed());
    ASSERT_NO_FATAL_FAILURE(at.drain());
    if (!at.queue.closed()) {
      at.go_on();
    }
  }

  long instructions_ = 0;  // of the last victim
  int dead_owners_ = 0;
};

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

TEST_F(QueueKilledInEveryInstructionOf, PushIntoAFreeChunk) {
  test(pushing(10'000, [](queue_under_kill& at) {
    at.push(20'000, 6);
    at.pop(4);  // the first chunk is free, the second has too little room left
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushThatGrowsTheRing) {
  test(pushing(6'000, [](queue_under_kill& at) { at.push(20'000, 3); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushBehindAChunkThatIsFullToTheLastByte) {
  test(pushing(20, [](queue_under_kill& at) { at.push(32'760, 2); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushOfALargeRecordThatGrowsTheRing) {
  test(pushing(100'000, [](queue_under_kill& at) { at.push(20); }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushOfALargeRecordThatGrowsTheRingBehindChunksPassedOver) {
  test(pushing(100'000, [](queue_under_kill& at) {
    at.push(60'000, 4);
    at.pop(4);
  }));
}

TEST_F(QueueKilledInEveryInstructionOf, PushOfALargeRecordIntoAFreeChunkBehindOthersPassedOver) {
  test(pushing(100'000, [](queue_under_kill& at) {
    at.push(60'000, 3);
    at.push(100'000);
    at.push(60'000);
    at.pop(5);
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
    at.push(20'000, 3);
    at.push(6'000, 2);
    at.pop(3);
  });
  tried.settle = [settle = tried.settle](queue_under_kill& at, bool completed) {
    settle(at, completed);
    const std::size_t size = at.internals.file_size();
    at.pop();
    at.push(20'000, 3);
    EXPECT_EQ(at.internals.file_size(), size) << "it has grown instead of using the chunk that was left";
  };
  test(tried);
}

TEST_F(QueueKilledInEveryInstructionOf, PopThatGoesOverChunksPassedOver) {
  test(popping([](queue_under_kill& at) {
    at.push(60'000, 4);
    at.pop(4);
    at.push(100'000);
    at.push(20);
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
  path way_to_raised;
  operation tried = popping([&](queue_under_kill& at) {
    at.poll_from_now_on();
    const bool first = way_to_raised.length() == 0;
    const fate killed_before_its_commit =
        first ? fate{.instructions = 1, .when = [&] { return at.is_readable(); }, .finds = &way_to_raised}
              : fate{.instructions = way_to_raised.length(), .follows = &way_to_raised};
    const auto push = [&] {
      return at.queue.push(encoding::raw, shoal::const_bytes{}, no_waiting) == queue_status::ok;
    };
    stepped_process producer(push, killed_before_its_commit);
    producer.join();
    if (first) {
      way_to_raised.find_landmarks();
    }
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

// The victims find what the one before left, and die of that too.
TEST(QueueKill, OneQueueOutlivesManyDeathsAndLosesNoMemory) {
  if (!shoal::test::can_single_step) {
    GTEST_SKIP() << shoal::test::why_no_single_step;
  }
  const int deaths = chaos_is_long() ? 10'000 : 200;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  // Room for 15 chunks. What is in use at any time fits into 8.
  queue_under_kill at({.max_bytes = 1 << 20});
  at.poll_from_now_on();
  int died = 0;
  int dead_owners = 0;
  constexpr std::size_t lengths[] = {0, 20, 6'000, 20'000, 60'000};
  constexpr unsigned usual_instructions = 700;
  for (int victims = 0; died < deaths; ++victims) {
    const bool pushes = at.expected.empty() || (at.expected.size() < 3 && random() % 2 == 0);
    const std::string text = sample(static_cast<std::uint64_t>(victims), lengths[random() % std::size(lengths)]);
    const auto run = [&] {
      record got;
      return (pushes ? at.queue.push(encoding::raw, bytes_of(text), no_waiting) : at.queue.pop(got, no_waiting)) ==
             queue_status::ok;
    };
    stepped_process victim(run, {.instructions = static_cast<long>(random() % usual_instructions)});
    ASSERT_TRUE(victim.join() || !victim.completed());
    SCOPED_TRACE(victim.where());
    if (!victim.completed()) {
      ++died;
      dead_owners += at.internals.has_dead_owner() ? 1 : 0;
    }
    at.expect_readable_unless_empty();
    const bool happened = pushes ? at.settle_push(text) : at.settle_pop();
    ASSERT_TRUE(happened || !victim.completed());
    if (victims % 50 == 0) {
      ASSERT_NO_FATAL_FAILURE(at.drain());
      ASSERT_NO_FATAL_FAILURE(at.go_on());
    }
    ASSERT_FALSE(HasFailure());
  }
  ASSERT_NO_FATAL_FAILURE(at.drain());
  ASSERT_NO_FATAL_FAILURE(at.go_on());
  RecordProperty("deaths", died);
  RecordProperty("dead_lock_owners", dead_owners);
  std::printf("%d deaths, %d left a dead lock owner; the queue has %u chunks\n", died, dead_owners,
              at.internals.chunk_count());
}

}  // namespace
