#include "shoal/work_queue.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "os/file_descriptor.hpp"
#include "pool/worker_slots.hpp"
#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::const_bytes;
using shoal::encoding;
using shoal::no_waiting;
using shoal::outcome;
using shoal::outcome_batch;
using shoal::process;
using shoal::queue_status;
using shoal::taken_task;
using shoal::work_queue;
using shoal::test::patience;

const_bytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text(const_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// One worker takes and finishes one task.
std::uint64_t run_one(work_queue& work, std::size_t slot) {
  taken_task taken;
  if (work.take(slot, taken, no_waiting) != queue_status::ok) {
    throw std::runtime_error("there was no task");
  }
  work.finish(slot, taken.ticket(), encoding::raw, taken.bytes());
  return taken.ticket();
}

// What a worker leaves that is killed after it has written its claim and before the task is removed.
void claim_without_taking(const work_queue& work, std::size_t slot, std::uint64_t ticket) {
  shoal::worker_slots::attach(work.descriptors().claims)[slot].claim = ticket + 1;
}

// The tickets that got an outcome, which must not be any twice.
std::multiset<std::uint64_t> settled(work_queue& work) {
  std::multiset<std::uint64_t> tickets;
  outcome_batch received;
  while (work.next(received, 1, no_waiting) == queue_status::ok) {
    for (const outcome& each : received) {
      if (each.what == outcome::kind::finished) {
        tickets.insert(each.ticket);
      } else if (const auto lost = work.reclaim(each.slot)) {
        tickets.insert(*lost);
      }
    }
  }
  return tickets;
}

TEST(WorkQueue, TasksAreNumberedFromZeroAndTakenInOrder) {
  work_queue work(1);
  EXPECT_EQ(work.submit(encoding::raw, bytes("first")), 0U);
  EXPECT_EQ(work.submit(encoding::msgpack, bytes("second")), 1U);
  EXPECT_EQ(work.pending(), 2U);

  taken_task taken;
  ASSERT_EQ(work.take(0, taken), queue_status::ok);
  EXPECT_EQ(taken.ticket(), 0U);
  EXPECT_EQ(taken.tag(), encoding::raw);
  EXPECT_EQ(text(taken.bytes()), "first");
  ASSERT_EQ(work.take(0, taken), queue_status::ok);
  EXPECT_EQ(taken.ticket(), 1U);
  EXPECT_EQ(taken.tag(), encoding::msgpack);
  EXPECT_EQ(text(taken.bytes()), "second");
}

TEST(WorkQueue, OutcomeCarriesWhatTheWorkerSaid) {
  work_queue work(3);
  work.submit(encoding::raw, bytes("task"));
  taken_task taken;
  ASSERT_EQ(work.take(2, taken), queue_status::ok);
  const const_bytes parts[] = {bytes("out"), bytes("come")};
  work.finish(2, taken.ticket(), encoding::pickle, parts);

  EXPECT_EQ(work.outstanding(), 1U);
  outcome_batch received;
  ASSERT_EQ(work.next(received, 1), queue_status::ok);
  EXPECT_EQ(received[0].what, outcome::kind::finished);
  EXPECT_EQ(received[0].ticket, 0U);
  EXPECT_EQ(received[0].slot, 2U);
  EXPECT_EQ(received[0].tag, encoding::pickle);
  EXPECT_EQ(text(received[0].bytes), "outcome");
  EXPECT_EQ(work.outstanding(), 0U);
}

TEST(WorkQueue, WaitsNoLongerThanAsked) {
  work_queue work(1);
  taken_task taken;
  outcome_batch received;
  EXPECT_EQ(work.take(0, taken, no_waiting), queue_status::timed_out);
  EXPECT_EQ(work.next(received, 1, no_waiting), queue_status::timed_out);
  EXPECT_EQ(work.next(received, 1, shoal::after(std::chrono::milliseconds(5))), queue_status::timed_out);
}

TEST(WorkQueue, ClosedOneIsDrainedAndTakesNoMore) {
  work_queue work(1);
  work.submit(encoding::raw, bytes("last"));
  work.close();
  work.close();
  try {
    work.submit(encoding::raw, bytes("too late"));
    FAIL() << "nothing was thrown";
  } catch (const shoal::error& error) {
    EXPECT_EQ(error.code(), shoal::errc::closed);
  }
  EXPECT_EQ(work.outstanding(), 1U);
  run_one(work, 0);
  taken_task none;
  EXPECT_EQ(work.take(0, none), queue_status::closed);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, WorkerInAnotherProcessAttachesByDescriptors) {
  work_queue work(2, "test");
  work.submit(encoding::raw, bytes("ping"));
  process worker([&] {
    work_queue attached = work_queue::attach(work.descriptors());
    taken_task taken;
    if (attached.slot_count() != 2 || attached.take(1, taken, shoal::after(patience)) != queue_status::ok) {
      return 1;
    }
    attached.finish(1, taken.ticket(), encoding::raw, bytes(text(taken.bytes()) + " pong"));
    return 0;
  });
  outcome_batch received;
  ASSERT_EQ(work.next(received, 1, shoal::after(patience)), queue_status::ok);
  EXPECT_EQ(text(received[0].bytes), "ping pong");
  EXPECT_TRUE(worker.join().success());
}

TEST(WorkQueue, TaskOfALostWorkerIsReclaimedAndNobodyElses) {
  work_queue work(2);
  work.submit(encoding::raw, bytes("dies"));
  work.submit(encoding::raw, bytes("lives"));
  taken_task first;
  taken_task second;
  ASSERT_EQ(work.take(0, first), queue_status::ok);
  ASSERT_EQ(work.take(1, second), queue_status::ok);

  work.lost(0);
  outcome_batch received;
  ASSERT_EQ(work.next(received, 1, no_waiting), queue_status::ok);
  EXPECT_EQ(received[0].what, outcome::kind::worker_lost);
  EXPECT_EQ(received[0].slot, 0U);
  EXPECT_EQ(work.reclaim(0), first.ticket());
  EXPECT_EQ(work.reclaim(0), std::nullopt) << "once";
  EXPECT_EQ(work.outstanding(), 1U);
}

TEST(WorkQueue, WorkerThatNeverTookATaskLosesNone) {
  work_queue work(1);
  work.submit(encoding::raw, bytes("still there"));
  work.lost(0);
  EXPECT_TRUE(settled(work).empty());
  EXPECT_EQ(work.pending(), 1U);
}

TEST(WorkQueue, EverythingALostWorkerHadFinishedComesFirst) {
  work_queue work(1);
  for (int i = 0; i < 3; ++i) {
    work.submit(encoding::raw, bytes("task"));
  }
  run_one(work, 0);
  run_one(work, 0);
  taken_task unfinished;
  ASSERT_EQ(work.take(0, unfinished), queue_status::ok);
  work.lost(0);

  outcome_batch received;
  for (std::uint64_t ticket = 0; ticket < 2; ++ticket) {
    ASSERT_EQ(work.next(received, 1, no_waiting), queue_status::ok);
    EXPECT_EQ(received[0].what, outcome::kind::finished);
    EXPECT_EQ(received[0].ticket, ticket);
  }
  ASSERT_EQ(work.next(received, 1, no_waiting), queue_status::ok);
  EXPECT_EQ(received[0].what, outcome::kind::worker_lost);
  EXPECT_EQ(work.reclaim(0), 2U);
}

TEST(WorkQueue, WorkerLostAfterFinishingHasNothingToReclaim) {
  work_queue work(1);
  work.submit(encoding::raw, bytes("task"));
  run_one(work, 0);
  work.lost(0);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, SlotOfALostWorkerServesTheNextOne) {
  work_queue work(1);
  work.submit(encoding::raw, bytes("task"));
  work.submit(encoding::raw, bytes("task"));
  taken_task taken;
  ASSERT_EQ(work.take(0, taken), queue_status::ok);
  work.lost(0);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
  EXPECT_EQ(run_one(work, 0), 1U);
  work.lost(0);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{1});
}

TEST(WorkQueue, TaskClaimedButNotTakenStaysForOthers) {
  work_queue work(2);
  work.submit(encoding::raw, bytes("task"));
  claim_without_taking(work, 0, 0);
  work.lost(0);
  EXPECT_TRUE(settled(work).empty());
  EXPECT_EQ(run_one(work, 1), 0U);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, TaskThatAnotherWorkerTookInsteadIsNotLost) {
  work_queue work(2);
  work.submit(encoding::raw, bytes("task"));
  claim_without_taking(work, 0, 0);
  taken_task taken;
  ASSERT_EQ(work.take(1, taken), queue_status::ok);
  work.lost(0);
  EXPECT_TRUE(settled(work).empty());
  work.finish(1, taken.ticket(), encoding::raw, bytes(""));
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, TaskThatAnotherWorkerFinishedInsteadIsNotLost) {
  work_queue work(2);
  work.submit(encoding::raw, bytes("task"));
  work.submit(encoding::raw, bytes("next"));
  claim_without_taking(work, 0, 0);
  run_one(work, 1);
  taken_task next;
  ASSERT_EQ(work.take(1, next), queue_status::ok);
  work.lost(0);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, TaskClaimedByTwoDeadWorkersIsLostOnce) {
  for (const bool first_dies_first : {true, false}) {
    work_queue work(2);
    work.submit(encoding::raw, bytes("task"));
    claim_without_taking(work, 0, 0);
    taken_task taken;
    ASSERT_EQ(work.take(1, taken), queue_status::ok);
    work.lost(first_dies_first ? 0 : 1);
    work.lost(first_dies_first ? 1 : 0);
    EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
  }
}

TEST(WorkQueue, SecondOutcomeOfATaskIsDropped) {
  work_queue work(1);
  work.submit(encoding::raw, bytes("task"));
  const std::uint64_t ticket = run_one(work, 0);
  work.finish(0, ticket, encoding::raw, bytes("again"));
  work.finish(0, ticket + 1, encoding::raw, bytes("never submitted"));
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, NumberOfSlotsIsChecked) {
  EXPECT_THROW(work_queue(0), std::invalid_argument);
  EXPECT_THROW(work_queue(1'000'000), std::invalid_argument);
  work_queue work(2);
  taken_task none;
  EXPECT_THROW(work.take(2, none, no_waiting), std::out_of_range);
  EXPECT_THROW(work.lost(2), std::out_of_range);
}

TEST(WorkQueue, AttachRefusesOtherDescriptors) {
  const work_queue work(1);
  auto wrong = work.descriptors();
  wrong.claims = wrong.tasks.segment;
  try {
    work_queue::attach(wrong);
    FAIL() << "nothing was thrown";
  } catch (const shoal::error& error) {
    EXPECT_EQ(error.code(), shoal::errc::wrong_kind);
  }
  wrong.claims = -1;
  EXPECT_THROW(work_queue::attach(wrong), std::system_error);
}

TEST(WorkQueue, NothingIsLeftBehind) {
  const std::ptrdiff_t before = shoal::test::open_descriptors();
  {
    work_queue work(4);
    const work_queue second = work_queue::attach(work.descriptors());
    work.submit(encoding::raw, bytes("never run"));
  }
  EXPECT_EQ(shoal::test::open_descriptors(), before);
}

using call_off_result = work_queue::call_off_result;

// What becomes of the tasks, by ticket.
std::map<std::uint64_t, outcome::kind> outcomes(work_queue& work) {
  std::map<std::uint64_t, outcome::kind> found;
  outcome_batch received;
  while (work.next(received, 100, no_waiting) == queue_status::ok) {
    for (const outcome& each : received) {
      EXPECT_TRUE(found.emplace(each.ticket, each.what).second) << "twice: " << each.ticket;
    }
  }
  return found;
}

TEST(WorkQueue, ManyTasksAreSubmittedAndReceivedTogether) {
  work_queue work(1);
  const const_bytes first = bytes("first");
  const std::string long_text(100'000, 'x');
  const const_bytes second = bytes(long_text);
  const std::array tasks{shoal::outgoing_record{encoding::raw, {&first, 1}},
                         shoal::outgoing_record{encoding::msgpack, {&second, 1}},
                         shoal::outgoing_record{encoding::raw, {&first, 1}}};
  std::size_t submitted = 0;
  EXPECT_EQ(work.next_ticket(), 0U);
  EXPECT_EQ(work.submit_many(tasks, submitted), queue_status::ok);
  EXPECT_EQ(submitted, 3U);
  EXPECT_EQ(work.next_ticket(), 3U);
  EXPECT_EQ(work.outstanding(), 3U);
  for (std::uint64_t ticket = 0; ticket < 3; ++ticket) {
    EXPECT_EQ(run_one(work, 0), ticket);
  }
  std::vector<std::string> texts;
  outcome_batch received;
  while (work.next(received, 100, no_waiting) == queue_status::ok) {
    for (const outcome& each : received) {
      EXPECT_EQ(each.ticket, texts.size());
      texts.push_back(text(each.bytes));
    }
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"first", long_text, "first"}));
}

TEST(WorkQueue, LargeOutcomeStaysInSharedMemoryWhileItIsKept) {
  work_queue work(1);
  const std::string long_text(100'000, 'x');
  work.submit(encoding::raw, bytes(long_text));
  run_one(work, 0);
  outcome_batch received;
  ASSERT_EQ(work.next(received, 100, no_waiting), queue_status::ok);
  ASSERT_TRUE(received.large().in_place());
  const shoal::borrowed_record kept = std::move(received.large());
  work.submit(encoding::raw, bytes(long_text));
  run_one(work, 0);
  ASSERT_EQ(work.next(received, 100, no_waiting), queue_status::ok);
  EXPECT_EQ(text(kept.bytes()).substr(0, long_text.size()), long_text);
}

TEST(WorkQueue, NoteOfTheWorkerArrives) {
  work_queue work(1);
  work.submit(encoding::raw, bytes("task"));
  taken_task taken;
  ASSERT_EQ(work.take(0, taken), queue_status::ok);
  work.finish(0, taken.ticket(), encoding::raw, bytes("done"), 17);
  outcome_batch received;
  ASSERT_EQ(work.next(received, 1, no_waiting), queue_status::ok);
  EXPECT_EQ(received[0].note, 17);
  EXPECT_EQ(text(received[0].bytes), "done");
}

TEST(WorkQueue, TaskCalledOffIsBegunByNobody) {
  work_queue work(1);
  for (int i = 0; i < 3; ++i) {
    work.submit(encoding::raw, bytes("task"));
  }
  EXPECT_EQ(work.call_off(1).result, call_off_result::withdrawn);
  EXPECT_EQ(work.call_off(1).result, call_off_result::withdrawn);
  EXPECT_EQ(run_one(work, 0), 0U);
  EXPECT_EQ(run_one(work, 0), 2U);
  const std::map<std::uint64_t, outcome::kind> expected{
      {0, outcome::kind::finished}, {1, outcome::kind::called_off}, {2, outcome::kind::finished}};
  EXPECT_EQ(outcomes(work), expected);
  EXPECT_EQ(work.call_off(1).result, call_off_result::too_late);
  EXPECT_EQ(work.call_off(17).result, call_off_result::too_late);
}

TEST(WorkQueue, TaskThatAsLongBeforeWasCalledOffIsNone) {
  work_queue work(1);
  taken_task taken;
  constexpr std::uint64_t period = shoal::worker_slots::period;
  work.submit(encoding::raw, bytes("task"));
  EXPECT_EQ(work.call_off(0).result, call_off_result::withdrawn);
  EXPECT_EQ(work.take(0, taken, no_waiting), queue_status::timed_out);
  EXPECT_EQ(outcomes(work).size(), 1U);
  const std::vector<shoal::outgoing_record> many(period, shoal::outgoing_record{encoding::raw, {}});
  std::size_t submitted = 0;
  ASSERT_EQ(work.submit_many(many, submitted), queue_status::ok);
  EXPECT_EQ(work.call_off(1).result, call_off_result::withdrawn);
  for (std::uint64_t ticket = 2; ticket <= period; ++ticket) {
    ASSERT_EQ(run_one(work, 0), ticket);
  }
}

TEST(WorkQueue, TaskIsNotCalledOffWhereItCannotBeToldFromAnother) {
  work_queue work(1);
  constexpr std::uint64_t period = shoal::worker_slots::period;
  const std::vector<shoal::outgoing_record> many(period + 1, shoal::outgoing_record{encoding::raw, {}});
  std::size_t submitted = 0;
  ASSERT_EQ(work.submit_many(many, submitted), queue_status::ok);
  EXPECT_EQ(work.call_off(period).result, call_off_result::withdrawn);
  EXPECT_EQ(work.call_off(0).result, call_off_result::too_many);
  EXPECT_EQ(run_one(work, 0), 0U);
}

TEST(WorkQueue, TaskIsNotCalledOffByOneLongBeforeThatNobodyHasHeardOf) {
  work_queue work(1);
  constexpr std::uint64_t period = shoal::worker_slots::period;
  const std::vector<shoal::outgoing_record> many(period + 1, shoal::outgoing_record{encoding::raw, {}});
  std::size_t submitted = 0;
  work.submit(encoding::raw, bytes("task"));
  EXPECT_EQ(work.call_off(0).result, call_off_result::withdrawn);
  ASSERT_EQ(work.submit_many(many, submitted), queue_status::ok);
  for (std::uint64_t ticket = 1; ticket <= period; ++ticket) {
    ASSERT_EQ(run_one(work, 0), ticket);
  }
}

TEST(WorkQueue, TaskIsNotCalledOffByOneLongBeforeWhoseWorkerIsStillDying) {
  work_queue work(2);
  taken_task taken;
  constexpr std::uint64_t period = shoal::worker_slots::period;
  const std::vector<shoal::outgoing_record> many(period + 1, shoal::outgoing_record{encoding::raw, {}});
  std::size_t submitted = 0;
  ASSERT_EQ(work.submit_many(many, submitted), queue_status::ok);
  ASSERT_EQ(work.take(1, taken, no_waiting), queue_status::ok);
  EXPECT_EQ(work.call_off(0).result, call_off_result::running);
  EXPECT_EQ(work.call_off(0).result, call_off_result::running);
  for (std::uint64_t ticket = 1; ticket <= period; ++ticket) {
    ASSERT_EQ(run_one(work, 0), ticket);
  }
  work.lost(1);
  EXPECT_EQ(outcomes(work).size(), period + 1);
  EXPECT_EQ(work.reclaim(1), 0U);
}

TEST(WorkQueue, WorkerRunningATaskThatIsCalledOffDoesNothingElse) {
  work_queue work(1);
  shoal::event begun;
  shoal::event called_off;
  shoal::event went_on;
  work.submit(encoding::raw, bytes("called off"));
  work.submit(encoding::raw, bytes("innocent"));
  process worker([&] {
    taken_task taken;
    (void)work.take(0, taken);
    begun.set();
    called_off.wait();
    work.finish(0, taken.ticket(), encoding::raw, bytes("late"));
    went_on.set();
  });
  ASSERT_TRUE(begun.wait_for(patience));
  const work_queue::called_off found = work.call_off(0);
  EXPECT_EQ(found.result, call_off_result::running);
  EXPECT_EQ(found.slot, 0U);
  EXPECT_EQ(work.call_off(0).result, call_off_result::running) << "still";
  called_off.set();
  EXPECT_FALSE(went_on.wait_for(std::chrono::milliseconds(50)));
  worker.kill();
  worker.join();
  work.lost(0);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
  EXPECT_EQ(run_one(work, 0), 1U);
}

TEST(WorkQueue, AccountTellsWhatIsRunSinceWhenAndWhatWasDone) {
  work_queue work(2);
  work.submit(encoding::raw, bytes("12345"));
  taken_task taken;
  EXPECT_EQ(work.account(1).running, std::nullopt);
  const auto before = std::chrono::steady_clock::now();
  ASSERT_EQ(work.take(1, taken), queue_status::ok);
  EXPECT_EQ(work.account(1).running, 0U);
  EXPECT_EQ(work.account(1).since, std::chrono::steady_clock::time_point());
  work.tell_begin(1);
  EXPECT_GE(work.account(1).since, before);
  work.finish(1, 0, encoding::raw, bytes("123"));
  const shoal::slot_account account = work.account(1);
  EXPECT_EQ(account.running, std::nullopt);
  EXPECT_EQ(account.finished, 1U);
  EXPECT_EQ(account.bytes_in, 5U);
  EXPECT_EQ(account.bytes_out, 3U);
  EXPECT_EQ(work.take(1, taken, shoal::after(std::chrono::milliseconds(5))), queue_status::timed_out);
  EXPECT_GE(work.account(1).idle, std::chrono::milliseconds(5));
}

TEST(WorkQueue, AWaitThatGoesOnCountsAsIdleAlsoIfTheWaiterDies) {
  using std::chrono::milliseconds;
  work_queue work(1);
  const auto grows_beyond = [&](std::chrono::nanoseconds amount) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (work.account(0).idle <= amount && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    return work.account(0).idle > amount;
  };
  process waiting([&work] {
    taken_task taken;
    (void)work.take(0, taken, shoal::forever);
  });
  EXPECT_TRUE(grows_beyond(milliseconds(20)));
  waiting.kill();
  (void)waiting.join();
  work.lost(0);
  work.reclaim(0);
  const auto idle = work.account(0).idle;
  EXPECT_GT(idle, milliseconds(20));
  std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(work.account(0).idle, idle);
}

}  // namespace
