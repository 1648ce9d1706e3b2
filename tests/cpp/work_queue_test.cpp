#include "shoal/work_queue.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

#include "os/file_descriptor.hpp"
#include "pool/claims.hpp"
#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::const_bytes;
using shoal::encoding;
using shoal::no_waiting;
using shoal::outcome;
using shoal::process;
using shoal::queue_status;
using shoal::task;
using shoal::work_queue;
using shoal::test::patience;

const_bytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text(const_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// One worker takes and finishes one task.
std::uint64_t run_one(work_queue& work, std::size_t slot) {
  task taken;
  if (work.take(slot, taken, no_waiting) != queue_status::ok) {
    throw std::runtime_error("there was no task");
  }
  work.finish(slot, taken.ticket(), encoding::raw, taken.bytes());
  return taken.ticket();
}

// What a worker leaves that is killed after it has written its claim and before the task is removed.
void claim_without_taking(const work_queue& work, std::size_t slot, std::uint64_t ticket) {
  shoal::claims::attach(work.descriptors().claims).of(slot) = ticket + 1;
}

// The tickets that got an outcome, which must not be any twice.
std::multiset<std::uint64_t> settled(work_queue& work) {
  std::multiset<std::uint64_t> tickets;
  outcome received;
  while (work.next(received, no_waiting) == queue_status::ok) {
    if (received.what() == outcome::kind::finished) {
      tickets.insert(received.ticket());
    } else if (const auto lost = work.reclaim(received.slot())) {
      tickets.insert(*lost);
    }
  }
  return tickets;
}

TEST(WorkQueue, TasksAreNumberedFromZeroAndTakenInOrder) {
  work_queue work(1);
  EXPECT_EQ(work.submit(encoding::raw, bytes("first")), 0U);
  EXPECT_EQ(work.submit(encoding::msgpack, bytes("second")), 1U);
  EXPECT_EQ(work.pending(), 2U);

  task taken;
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
  task taken;
  ASSERT_EQ(work.take(2, taken), queue_status::ok);
  const const_bytes parts[] = {bytes("out"), bytes("come")};
  work.finish(2, taken.ticket(), encoding::pickle, parts);

  EXPECT_EQ(work.outstanding(), 1U);
  outcome received;
  ASSERT_EQ(work.next(received), queue_status::ok);
  EXPECT_EQ(received.what(), outcome::kind::finished);
  EXPECT_EQ(received.ticket(), 0U);
  EXPECT_EQ(received.slot(), 2U);
  EXPECT_EQ(received.tag(), encoding::pickle);
  EXPECT_EQ(text(received.bytes()), "outcome");
  EXPECT_EQ(work.outstanding(), 0U);
}

TEST(WorkQueue, WaitsNoLongerThanAsked) {
  work_queue work(1);
  task taken;
  outcome received;
  EXPECT_EQ(work.take(0, taken, no_waiting), queue_status::timed_out);
  EXPECT_EQ(work.next(received, no_waiting), queue_status::timed_out);
  EXPECT_EQ(work.next(received, shoal::after(std::chrono::milliseconds(5))), queue_status::timed_out);
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
  task none;
  EXPECT_EQ(work.take(0, none), queue_status::closed);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, WorkerInAnotherProcessAttachesByDescriptors) {
  work_queue work(2, "test");
  work.submit(encoding::raw, bytes("ping"));
  process worker([&] {
    work_queue attached = work_queue::attach(work.descriptors());
    task taken;
    if (attached.slots() != 2 || attached.take(1, taken, shoal::after(patience)) != queue_status::ok) {
      return 1;
    }
    attached.finish(1, taken.ticket(), encoding::raw, bytes(text(taken.bytes()) + " pong"));
    return 0;
  });
  outcome received;
  ASSERT_EQ(work.next(received, shoal::after(patience)), queue_status::ok);
  EXPECT_EQ(text(received.bytes()), "ping pong");
  EXPECT_TRUE(worker.join().success());
}

TEST(WorkQueue, TaskOfALostWorkerIsReclaimedAndNobodyElses) {
  work_queue work(2);
  work.submit(encoding::raw, bytes("dies"));
  work.submit(encoding::raw, bytes("lives"));
  task first;
  task second;
  ASSERT_EQ(work.take(0, first), queue_status::ok);
  ASSERT_EQ(work.take(1, second), queue_status::ok);

  work.lost(0);
  outcome received;
  ASSERT_EQ(work.next(received, no_waiting), queue_status::ok);
  EXPECT_EQ(received.what(), outcome::kind::worker_lost);
  EXPECT_EQ(received.slot(), 0U);
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
  task unfinished;
  ASSERT_EQ(work.take(0, unfinished), queue_status::ok);
  work.lost(0);

  outcome received;
  for (std::uint64_t ticket = 0; ticket < 2; ++ticket) {
    ASSERT_EQ(work.next(received, no_waiting), queue_status::ok);
    EXPECT_EQ(received.what(), outcome::kind::finished);
    EXPECT_EQ(received.ticket(), ticket);
  }
  ASSERT_EQ(work.next(received, no_waiting), queue_status::ok);
  EXPECT_EQ(received.what(), outcome::kind::worker_lost);
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
  task taken;
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
  task taken;
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
  task next;
  ASSERT_EQ(work.take(1, next), queue_status::ok);
  work.lost(0);
  EXPECT_EQ(settled(work), std::multiset<std::uint64_t>{0});
}

TEST(WorkQueue, TaskClaimedByTwoDeadWorkersIsLostOnce) {
  for (const bool first_dies_first : {true, false}) {
    work_queue work(2);
    work.submit(encoding::raw, bytes("task"));
    claim_without_taking(work, 0, 0);
    task taken;
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
  task none;
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

}  // namespace
