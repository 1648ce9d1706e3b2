#include "sync/barrier_core.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "lock_support.hpp"

namespace {

using shoal::forever;
using shoal::no_waiting;
using shoal::sync::barrier_core;
using shoal::sync::barrier_result;
using shoal::sync::barrier_word;
using shoal::test::in_child;

TEST(BarrierCore, AForkedChildThatLeavesItLeavesTheParentsArrival) {
  barrier_core meeting(2);
  std::optional<barrier_core::party> mine(meeting);
  ASSERT_EQ(mine->arrive_until(no_waiting), barrier_result::done);
  EXPECT_TRUE(in_child([&] {
    mine.reset();  // as an exception would that a signal handler throws in the child
    return true;
  }));
  EXPECT_EQ(meeting.look().arrived, 1U);
  EXPECT_FALSE(meeting.look().broken);
}

TEST(BarrierCore, AForkedChildThatGoesOnWaitingIsToldThatItDoesNotTakePart) {
  barrier_core meeting(2);
  barrier_core::party mine(meeting);
  ASSERT_EQ(mine.arrive_until(no_waiting), barrier_result::done);
  EXPECT_TRUE(in_child(
      [&] { return mine.wait_until(forever) == barrier_result::broken && mine.give_up() == barrier_result::broken; }));
  EXPECT_EQ(meeting.look().arrived, 1U);
  EXPECT_FALSE(meeting.look().broken);
}

TEST(BarrierCore, AForkedChildOfACompletionNeitherCompletesNorBreaksIt) {
  barrier_core meeting(1);
  barrier_core::party last(meeting);
  ASSERT_EQ(last.arrive_until(no_waiting), barrier_result::done);
  ASSERT_TRUE(last.is_last());
  const std::uint32_t phase = meeting.look().phase;
  EXPECT_TRUE(in_child([&] { return last.complete() == barrier_result::broken; }));
  EXPECT_EQ(meeting.look().phase, phase);
  EXPECT_TRUE(in_child([&] { return last.give_up() == barrier_result::broken; }));
  EXPECT_FALSE(meeting.look().broken);
  EXPECT_EQ(last.complete(), barrier_result::done);
  EXPECT_EQ(meeting.look().phase, phase + 1);
}

TEST(BarrierCore, OneWhoSleptThroughAnyNumberOfResetsIsToldOfThem) {
  for (std::uint32_t resets = 1; resets <= 2 * barrier_word::phases_remembered; ++resets) {
    barrier_core meeting(2);
    barrier_core::party slow(meeting);
    ASSERT_EQ(slow.arrive_until(no_waiting), barrier_result::done);
    for (std::uint32_t i = 0; i < resets; ++i) {
      meeting.abort();
      meeting.reset();
    }
    ASSERT_EQ(slow.wait_until(no_waiting), barrier_result::broken) << resets;
  }
}

}  // namespace
