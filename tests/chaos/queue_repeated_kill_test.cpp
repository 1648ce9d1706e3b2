// One queue, and one process after the other dies of using it. Each finds what the one before left, and dies of that
// too.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <iterator>
#include <random>
#include <string>

#include "process_support.hpp"
#include "queue_kill_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"
#include "single_step.hpp"

namespace {

using shoal::encoding;
using shoal::no_waiting;
using shoal::queue_status;
using shoal::test::sample;

TEST(QueueKilledAgainAndAgain, LosesNeitherRecordsNorMemory) {
  if (!shoal::test::can_single_step) {
    GTEST_SKIP() << shoal::test::why_no_single_step;
  }
  const int deaths = shoal::test::chaos_is_long() ? 10'000 : 100;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  shoal::test::queue_under_kill at({.max_bytes = shoal::test::one_megabyte});
  at.poll_from_now_on();
  int died = 0;
  constexpr std::size_t lengths[] = {0, 20, 6'000, 20'000, 30'000, 100'000};
  constexpr unsigned usual_instructions = 3'000;
  for (int victims = 0; died < deaths; ++victims) {
    const bool pushes = at.expected.empty() || (at.expected.size() < 3 && random() % 2 == 0);
    const std::string text = sample(static_cast<std::uint64_t>(victims), lengths[random() % std::size(lengths)]);
    const bool borrows = random() % 2 == 0;
    const auto run = [&] {
      if (pushes) {
        return at.queue.push(encoding::raw, shoal::test::bytes_of(text), no_waiting) == queue_status::ok;
      }
      if (borrows) {
        shoal::borrowed_record got;
        return at.queue.borrow(got, no_waiting) == queue_status::ok;
      }
      shoal::record got;
      return at.queue.pop(got, no_waiting) == queue_status::ok;
    };
    shoal::test::stepped_process victim(run, {.instructions = static_cast<long>(random() % usual_instructions)});
    ASSERT_TRUE(victim.join() || !victim.completed());
    SCOPED_TRACE(victim.where());
    died += victim.completed() ? 0 : 1;
    at.expect_readable_unless_empty();
    const bool happened = pushes ? at.settle_push(text) : at.settle_pop();
    ASSERT_TRUE(happened || !victim.completed());
    if (victims % 50 == 0) {
      ASSERT_NO_FATAL_FAILURE(at.drain());
      EXPECT_EQ(at.internals.misplaced(), "");
    }
    ASSERT_FALSE(HasFailure());
  }
  ASSERT_NO_FATAL_FAILURE(at.drain());
  ASSERT_NO_FATAL_FAILURE(at.fill());
  EXPECT_EQ(at.internals.misplaced(), "");
  RecordProperty("deaths", died);
  std::printf("%d deaths; the queue has %u chunks\n", died, at.internals.chunk_count());
}

}  // namespace
