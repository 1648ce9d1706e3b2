#include "sync/wait_line.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/mutex.hpp"
#include "sync/owner_lock.hpp"

namespace {

using shoal::condition_variable;
using shoal::forever;
using shoal::mutex;
using shoal::no_waiting;
using shoal::memory::arena_slot;
using shoal::memory::slot_kind;
using shoal::sync::owner_lock;
using shoal::sync::self_in;
using shoal::sync::thread_record;
using shoal::sync::wait_line;
using shoal::sync::wait_line_state;
using shoal::sync::wait_result;
using shoal::sync::waiting_mark;
using shoal::test::in_child;

std::uint32_t counted(const wait_line& line) { return line.slot().as<wait_line_state>().waiters; }

TEST(WaitLine, AForkedChildThatLeavesItLeavesTheParentsPlace) {
  wait_line line;
  std::optional<wait_line::place> mine(line);
  EXPECT_TRUE(in_child([&] {
    mine.reset();  // as an exception would that a signal handler throws in the child
    return true;
  }));
  EXPECT_EQ(counted(line), 1U);
  EXPECT_EQ(line.size(), 1U);
  EXPECT_EQ(line.notify(1), 1U);
  EXPECT_EQ(mine->wait_until(no_waiting), wait_result::done);
  mine.reset();
  EXPECT_EQ(counted(line), 0U);
}

TEST(WaitLine, AForkedChildThatGoesOnWaitingDoesNotWaitInTheParentsPlace) {
  wait_line line;
  wait_line::place mine(line);
  EXPECT_TRUE(in_child([&] { return mine.wait_until(forever) == wait_result::done; }));
  EXPECT_TRUE(in_child([&] { return mine.wait_until(no_waiting) == wait_result::done; }));
  EXPECT_EQ(line.size(), 1U);
  EXPECT_EQ(line.notify(1), 1U);
  EXPECT_EQ(mine.wait_until(no_waiting), wait_result::done);
}

TEST(WaitLine, AForkedChildLeavesTheParentVisibleAsOneWhoWaits) {
  const owner_lock lock(slot_kind::mutex);
  thread_record& mine = *self_in(lock.slot()).record;
  std::optional<waiting_mark> mark;
  mark.emplace(mine, lock.slot());
  EXPECT_TRUE(in_child([&] {
    mark.reset();
    return true;
  }));
  EXPECT_EQ(mine.waits_for, lock.slot().index() + 1);
}

TEST(WaitLine, MayBeDestroyedOnceAllAreNotifiedAndWhatLiesThereLaterIsLeftAlone) {
  mutex guard;
  auto changed = std::make_unique<condition_variable>();
  bool waits = false;
  bool go_on = false;
  std::thread waiter([&] {
    std::unique_lock lock(guard);
    waits = true;
    while (!go_on) {
      changed->wait(lock);
    }
  });
  // Once it has let go of the mutex it stands in line.
  EXPECT_TRUE(shoal::test::eventually([&] {
    const std::scoped_lock lock(guard);
    return waits;
  }));
  std::vector<arena_slot> blocks;
  {
    const std::scoped_lock lock(guard);
    go_on = true;
    changed->notify_all();
    changed.reset();
    // One of them lies where the condition variable was, if that may be used again by now.
    for (int i = 0; i < 8; ++i) {
      blocks.push_back(arena_slot::allocate(slot_kind::block));
      std::fill_n(blocks.back().data(), arena_slot::size, std::byte{0x55});
    }
  }
  waiter.join();
  for (const arena_slot& block : blocks) {
    EXPECT_TRUE(std::all_of(block.data(), block.data() + arena_slot::size,
                            [](std::byte value) { return value == std::byte{0x55}; }));
  }
}

}  // namespace
