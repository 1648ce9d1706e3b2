// A process is killed at every instruction of what it does with large records, which are written and read in place.
// Their memory must not be lost, nor used while somebody reads it.

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "process_support.hpp"
#include "queue_kill_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"

namespace {

using shoal::borrowed_record;
using shoal::byte_queue;
using shoal::encoding;
using shoal::no_waiting;
using shoal::queue_status;
using shoal::reserved_record;
using shoal::test::one_megabyte;
using shoal::test::operation;
using shoal::test::path;
using shoal::test::queue_under_kill;
using shoal::test::sample;
using shoal::test::shared;
using shoal::test::text_of;

constexpr std::size_t size = 100'000;

class QueueKilledInEveryInstructionOfALarge : public shoal::test::every_instruction_test {
 protected:
  // The copying alone has thousands.
  static constexpr long coarse = 5;

  static operation reserving(std::function<void(queue_under_kill&)> prepare) {
    return {.options = {.max_bytes = one_megabyte},
            .prepare = std::move(prepare),
            .run =
                [](byte_queue& queue) {
                  reserved_record made;
                  return queue.reserve(made, size, no_waiting);
                },
            .settle = [](queue_under_kill& at, bool) { EXPECT_EQ(at.settle_pushes({}), 0U); }};
  }

  static operation borrowing(std::function<void(queue_under_kill&)> prepare) {
    operation tried = popping(std::move(prepare), {.max_bytes = one_megabyte});
    tried.run = [](byte_queue& queue) {
      borrowed_record got;
      const queue_status status = queue.borrow(got, no_waiting);
      return got.in_place() ? status : queue_status::closed;
    };
    return tried;
  }
};

TEST_F(QueueKilledInEveryInstructionOfALarge, PushThatGrowsTheQueue) {
  test(pushing(size, [](queue_under_kill& at) { at.push(20); }, {.max_bytes = one_megabyte}), coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PushIntoAPolledQueue) {
  test(pushing(size, [](queue_under_kill& at) { at.poll_from_now_on(); }, {.max_bytes = one_megabyte}), coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PushIntoAFreeChunkThatHasMemory) {
  test(pushing(size,
               [](queue_under_kill& at) {
                 at.push(size, 3);
                 at.pop(3);
               },
               {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PushIntoAFreeChunkWhoseMemoryWentBackToTheSystem) {
  test(pushing(size,
               [](queue_under_kill& at) {
                 at.internals.pretend_resident(shoal::test::more_than_is_kept);
                 at.push(size, 3);
                 at.pop(3);
               },
               {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PushIntoAChunkThatSomebodyHasReadInPlaceForLong) {
  test(pushing(size,
               [](queue_under_kill& at) {
                 borrowed_record kept;
                 at.push(size, 4);
                 at.borrow(kept);
                 at.pop(3);
                 at.push(size);
                 ASSERT_EQ(at.internals.held(), 1U);
               },
               {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PushForWhichTheDeadHaveToBeRobbedOfMemory) {
  test(pushing(size,
               [](queue_under_kill& at) {
                 shoal::test::run_and_die([&] { (void)at.queue.reserve(*new reserved_record, 700'000, no_waiting); });
                 ASSERT_EQ(at.internals.reserved(), 1);
               },
               {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PushIntoAFullQueueWhichRefusesIt) {
  operation tried =
      pushing(size, [](queue_under_kill& at) { at.push(20, 2); }, {.capacity = 2, .max_bytes = one_megabyte});
  tried.run = [](byte_queue& queue) {
    reserved_record made;
    if (const queue_status status = queue.reserve(made, size, no_waiting); status != queue_status::ok) {
      return status;
    }
    return queue.push(encoding::raw, made, no_waiting);
  };
  tried.result = queue_status::timed_out;
  tried.settle = [](queue_under_kill& at, bool) { EXPECT_EQ(at.queue.size(), 2U); };
  test(tried, coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, ReservationThatIsGivenBack) {
  test(reserving([](queue_under_kill& at) { at.push(20, 2); }), coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, ReservationThatIsWrittenAndPushed) {
  const std::string text = sample(987'654'321, size);
  operation tried = pushing(size,
                            [](queue_under_kill& at) {
                              at.poll_from_now_on();
                              at.push(20);
                            },
                            {.max_bytes = one_megabyte});
  tried.run = [text](byte_queue& queue) {
    reserved_record made;
    if (const queue_status status = queue.reserve(made, size, no_waiting); status != queue_status::ok) {
      return status;
    }
    std::memcpy(made.bytes().data(), text.data(), size);
    return queue.push(encoding::raw, made, no_waiting);
  };
  test(tried, coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, Pop) {
  test(popping(
           [](queue_under_kill& at) {
             at.push(size);
             at.push(20);
             at.push(size);
           },
           {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PopOfTheLastFromAPolledQueue) {
  test(popping(
           [](queue_under_kill& at) {
             at.poll_from_now_on();
             at.push(size);
           },
           {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, PopAfterADeathInTheMiddleOfOne) {
  path way;
  test(popping(
           [&](queue_under_kill& at) {
             at.push(size, 2);
             const auto pop = [&] {
               borrowed_record got;
               return at.queue.borrow(got, no_waiting) == queue_status::ok;
             };
             die_when(way, pop, [&] { return at.internals.holds_head_lock() && at.internals.owned() == 1; });
             ASSERT_EQ(at.queue.size(), 2U);
           },
           {.max_bytes = one_megabyte}),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, LoanThatIsGivenBack) {
  test(borrowing([](queue_under_kill& at) {
         at.poll_from_now_on();
         at.push(size, 2);
       }),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, LoanWhoseMemoryGoesBackToTheSystem) {
  test(borrowing([](queue_under_kill& at) {
         at.internals.pretend_resident(shoal::test::more_than_is_kept);
         at.push(size, 2);
       }),
       coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, LoanByAChildOfAProcessThatHasOne) {
  borrowed_record kept;
  operation tried = borrowing([&](queue_under_kill& at) {
    at.push(size, 3);
    at.borrow(kept);
  });
  tried.settle = [&, settle = tried.settle](queue_under_kill& at, bool completed) {
    settle(at, completed);
    const std::string text = text_of(kept.bytes());
    EXPECT_TRUE(text == sample(0, size));
    kept.reset();
  };
  test(tried, coarse);
}

TEST_F(QueueKilledInEveryInstructionOfALarge, LoanThatAChildGivesBackBeforeItsParent) {
  borrowed_record kept;
  operation tried = borrowing([&](queue_under_kill& at) {
    at.push(size, 2);
    at.borrow(kept);
  });
  tried.run = [&](byte_queue&) {
    kept.reset();
    return queue_status::ok;
  };
  tried.settle = [&](queue_under_kill& at, bool) {
    at.pop();
    at.push(size, 4);
    at.drain();
    EXPECT_TRUE(text_of(kept.bytes()) == sample(0, size)) << "it was written to while its reader was there";
    kept.reset();
  };
  test(tried);
}

TEST(QueueMemory, ComesBackWhenParentAndChildHaveBothLetGoOfALoan) {
  queue_under_kill at({.max_bytes = one_megabyte});
  at.push(size, 6);
  std::deque<borrowed_record> kept(6);
  for (borrowed_record& each : kept) {
    at.borrow(each);
  }
  const shared<std::atomic<bool>> let_go;
  const shared<std::atomic<bool>> may_end;
  shoal::process child([&] {
    kept.clear();
    *let_go = true;
    shoal::test::eventually([&] { return may_end->load(); });
  });
  EXPECT_TRUE(shoal::test::eventually([&] { return let_go->load(); }));
  kept.clear();
  EXPECT_NO_THROW(at.push(size, 4)) << "nobody reads it any more, and it cannot be used";
  *may_end = true;
  EXPECT_TRUE(child.join().success());
  at.drain();
  at.go_on();
}

}  // namespace
