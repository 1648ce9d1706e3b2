// A process is killed at every instruction of what it does with records on lease. Each is acknowledged, or comes back:
// never both, never neither.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <string>
#include <vector>

#include "process_support.hpp"
#include "queue_kill_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"

namespace {

using shoal::borrowed_record;
using shoal::byte_queue;
using shoal::encoding;
using shoal::lease;
using shoal::no_waiting;
using shoal::queue_status;
using shoal::record;
using shoal::record_batch;
using shoal::test::one_megabyte;
using shoal::test::operation;
using shoal::test::path;
using shoal::test::queue_under_kill;
using shoal::test::shared;
using shoal::test::text_of;

enum class stage { before, acknowledging, acknowledged };

class QueueKilledInEveryInstructionOfALease : public shoal::test::every_instruction_test {
 protected:
  /// A lease of the first record, and what is done with it.
  template <class Use>
  operation leasing(std::function<void(queue_under_kill&)> prepare, Use use, const shoal::queue_options& options = {}) {
    return {.options = options,
            .prepare =
                [this, prepare = std::move(prepare)](queue_under_kill& at) {
                  *reached_ = stage::before;
                  prepare(at);
                },
            .run =
                [this, use](byte_queue& queue) {
                  if (!is_noticed) {
                    shoal::test::refuse_death_notices();
                  }
                  lease held;
                  const queue_status status = queue.pop(held, no_waiting);
                  return status == queue_status::ok ? use(held) : status;
                },
            .settle =
                [this](queue_under_kill& at, bool) {
                  expect_notice(at);
                  const bool gone = at.settle_lease();
                  if (*reached_ == stage::before) {
                    EXPECT_FALSE(gone) << "not acknowledged, and it did not come back";
                  } else if (*reached_ == stage::acknowledged) {
                    EXPECT_TRUE(gone) << "acknowledged, and it came back";
                  }
                }};
  }

  auto acknowledge() {
    return [this](lease& held) {
      *reached_ = stage::acknowledging;
      const bool was_active = held.acknowledge();
      *reached_ = stage::acknowledged;
      return was_active ? queue_status::ok : queue_status::closed;
    };
  }
  static queue_status give_back(lease& held) { return held.give_back(no_waiting); }
  static queue_status drop(lease& /*held*/) { return queue_status::ok; }
  static queue_status die(lease& held) {
    (void)new lease(std::move(held));
    return queue_status::ok;
  }

  /// What takes the record in front, for good, which has come back from a lease.
  template <class Take>
  static operation taking(std::function<void(queue_under_kill&)> prepare, Take take) {
    return {.options = {.max_bytes = one_megabyte},
            .prepare = [prepare = std::move(prepare)](queue_under_kill& at) { prepare(at); },
            .run = take,
            .settle = [](queue_under_kill& at, bool completed) { EXPECT_TRUE(at.settle_lease() || !completed); }};
  }

  /// Of these records the first comes back.
  static void return_first(queue_under_kill& at, std::size_t length, int count) {
    at.poll_from_now_on();
    at.push(length, count);
    lease held;
    ASSERT_EQ(at.queue.pop(held, no_waiting), queue_status::ok);
    ASSERT_EQ(held.give_back(), queue_status::ok);
  }

  /// Of these records another process has had the first on lease when it died.
  static void leave_first(queue_under_kill& at, std::size_t length, int count) {
    at.poll_from_now_on();
    at.push(length, count);
    shoal::test::run_and_die([&] {
      shoal::test::refuse_death_notices();
      (void)at.queue.pop(*new lease, no_waiting);
    });
    ASSERT_EQ(at.internals.leased(), 1);
  }

  // Whether the system is to tell of deaths. The end of each process then takes it 20 ms.
  bool is_noticed = false;

 private:
  // Whoever sleeps in poll hears of the death, as the next look at the queue brings the record back.
  void expect_notice(queue_under_kill& at) const {
    if (is_noticed && at.is_polled() && shoal::test::can_give_death_notice() && at.internals.leased() != 0) {
      EXPECT_TRUE(at.is_readable()) << "the record will come back, and the descriptor is not readable";
    }
  }

  shared<std::atomic<stage>> reached_;
};

TEST_F(QueueKilledInEveryInstructionOfALease, ThatIsAcknowledged) {
  test(leasing([](queue_under_kill& at) { at.push(20, 3); }, acknowledge()), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, OfTheLastInAPolledQueueThatIsAcknowledged) {
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20);
  };
  test(leasing(prepare, acknowledge()), 31);
}

TEST_F(QueueKilledInEveryInstructionOfALease, OfALargeRecordThatIsAcknowledged) {
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(100'000, 2);
  };
  test(leasing(prepare, acknowledge(), {.max_bytes = one_megabyte}), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, ThatLeavesItsChunkAndIsAcknowledged) {
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(60'000, 2);
    at.push(20);
    at.pop();
  };
  test(leasing(prepare, acknowledge(), {.max_bytes = one_megabyte}), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, ThatIsGivenBack) {
  test(leasing([](queue_under_kill& at) { at.push(20, 3); }, give_back), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, OfTheLastInAPolledQueueThatIsGivenBack) {
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20);
  };
  test(leasing(prepare, give_back), 31);
}

TEST_F(QueueKilledInEveryInstructionOfALease, ThatEnds) {
  test(leasing([](queue_under_kill& at) { at.push(20, 3); }, drop), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, ThatEndsWithItsProcess) {
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20);
  };
  test(leasing(prepare, die), 31);
}

TEST_F(QueueKilledInEveryInstructionOfALease, ThatEndsWithItsProcessOfWhichTheSystemTells) {
  is_noticed = true;
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20);
  };
  test(leasing(prepare, die), 301);
}

TEST_F(QueueKilledInEveryInstructionOfALease, FromABoundedQueueWhoseRoomIsPolled) {
  const auto prepare = [](queue_under_kill& at) {
    at.poll_from_now_on();
    at.poll_room_from_now_on();
    at.push(20, 3);
    ASSERT_EQ(at.queue.push(encoding::raw, shoal::const_bytes{}, no_waiting), queue_status::timed_out);
  };
  test(leasing(prepare, acknowledge(), {.capacity = 3}), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, OfAReturnedRecordThatIsAcknowledged) {
  test(leasing([](queue_under_kill& at) { return_first(at, 20, 1); }, acknowledge()), 17);
}

TEST_F(QueueKilledInEveryInstructionOfALease, OfAReturnedRecordThatIsGivenBack) {
  test(leasing([](queue_under_kill& at) { return_first(at, 20, 3); }, give_back), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, OfWhatADeadProcessHadOnLease) {
  test(leasing([](queue_under_kill& at) { leave_first(at, 20, 3); }, acknowledge()), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, AfterADeathInTheMiddleOfOne) {
  path way;
  const auto prepare = [&](queue_under_kill& at) {
    at.push(20, 3);
    const auto take = [&] {
      shoal::test::refuse_death_notices();
      lease held;
      return at.queue.pop(held, no_waiting) == queue_status::ok;
    };
    die_when(way, take, [&] { return at.queue.popped() == 0 && at.queue.leased() == 1; });
    ASSERT_TRUE(at.internals.has_dead_owner());
  };
  test(leasing(prepare, acknowledge()), 3);
}

TEST_F(QueueKilledInEveryInstructionOfALease, AfterADeathInTheMiddleOfGivingBack) {
  path way;
  const auto prepare = [&](queue_under_kill& at) {
    at.poll_from_now_on();
    at.push(20, 3);
    const auto give = [&] {
      shoal::test::refuse_death_notices();
      lease held;
      return at.queue.pop(held, no_waiting) == queue_status::ok && held.give_back() == queue_status::ok;
    };
    die_when(way, give, [&] { return at.queue.popped() == 1 && at.queue.leased() == 0; });
    ASSERT_TRUE(at.internals.has_dead_owner());
  };
  test(leasing(prepare, acknowledge()), 3);
}

class QueueKilledInEveryInstructionOfTaking : public QueueKilledInEveryInstructionOfALease {};

TEST_F(QueueKilledInEveryInstructionOfTaking, AReturnedRecord) {
  test(taking([](queue_under_kill& at) { return_first(at, 20, 3); },
              [](byte_queue& queue) {
                record got;
                return queue.pop(got, no_waiting);
              }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfTaking, TheLastReturnedRecord) {
  test(taking([](queue_under_kill& at) { return_first(at, 20, 1); },
              [](byte_queue& queue) {
                record got;
                return queue.pop(got, no_waiting);
              }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfTaking, AReturnedRecordWithManyOthers) {
  test(taking([](queue_under_kill& at) { return_first(at, 20, 3); },
              [](byte_queue& queue) {
                record_batch got;
                return queue.pop_many(got, 1, no_waiting);
              }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfTaking, ALargeReturnedRecordThatIsBorrowed) {
  test(taking([](queue_under_kill& at) { return_first(at, 100'000, 2); },
              [](byte_queue& queue) {
                borrowed_record got;
                return queue.borrow(got, no_waiting);
              }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfTaking, WhatADeadProcessHadOnLease) {
  test(taking([](queue_under_kill& at) { leave_first(at, 20, 1); },
              [](byte_queue& queue) {
                record got;
                return queue.pop(got, no_waiting);
              }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfTaking, WhatADeadProcessHadOnLeaseAndOthersBehindIt) {
  test(taking([](queue_under_kill& at) { leave_first(at, 20, 3); },
              [](byte_queue& queue) {
                record got;
                return queue.pop(got, no_waiting);
              }),
       3);
}

TEST_F(QueueKilledInEveryInstructionOfTaking, AllWithAReturnedRecordAmongThem) {
  constexpr std::size_t all = 4;
  operation tried = taking([](queue_under_kill& at) { return_first(at, 20, all); },
                           [](byte_queue& queue) {
                             std::size_t dropped = 0;
                             const queue_status status = queue.clear(dropped, no_waiting);
                             return dropped == all ? status : queue_status::closed;
                           });
  tried.settle = [](queue_under_kill& at, bool completed) {
    // The one that came back first, then all others at once.
    at.renew();
    std::deque<std::string> left;
    for (record got; at.queue.pop(got, no_waiting) == queue_status::ok;) {
      left.push_back(text_of(got.bytes()));
    }
    EXPECT_TRUE(left.empty() || (!completed && left.size() >= all - 1)) << left.size() << " are left";
    EXPECT_TRUE(std::equal(left.rbegin(), left.rend(), at.expected.rbegin())) << "others are left than were there";
    at.expected.clear();
  };
  test(tried, 3);
}

// Not a kill, but what one must not change either.
TEST(QueueMemory, IsNotUsedForAnythingElseWhileARecordInItIsOnLeaseOrHasComeBack) {
  for (const std::size_t length : {std::size_t{60'000}, std::size_t{20'000}, std::size_t{20}}) {
    queue_under_kill at({.max_bytes = one_megabyte});
    at.push(length);
    at.push(30'000, 6);
    const std::string text = at.expected.front();
    lease held;
    ASSERT_EQ(at.queue.pop(held, no_waiting), queue_status::ok);
    at.expected.pop_front();
    for (int turn = 0; turn < 2; ++turn) {
      at.drain();
      at.fill(1);
    }
    ASSERT_EQ(held.give_back(), queue_status::ok);
    at.expected.push_front(text);
    at.drain();
    at.fill();
    EXPECT_EQ(at.internals.misplaced(), "");
  }
}

}  // namespace
