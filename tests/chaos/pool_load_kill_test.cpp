// A pool under load whose workers are killed all the time.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pool_kill_support.hpp"
#include "pool_support.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::pool;
using shoal::task;
using shoal::task_cancelled;
using shoal::task_timed_out;
using shoal::worker_died;
using shoal::test::has_children;
using shoal::test::killer_of_children;
using shoal::test::open_descriptors;
using shoal::test::patience;

int three_times(int number) {
  // Long enough that kills find tasks being run.
  const auto end = std::chrono::steady_clock::now() + 20us;
  while (std::chrono::steady_clock::now() < end) {
  }
  return 3 * number;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool slow_start = true;
#else
constexpr bool slow_start = false;
#endif

bool long_test() {
  const char* const how_long = std::getenv("SHOAL_CHAOS");
  return how_long != nullptr && how_long == std::string_view("long");
}

struct tally {
  long returned = 0;
  long died = 0;
};

/// Submits so many tasks and counts how they end, which each must, once and with its own result.
tally run_all(pool& workers, int count, const shoal::task_options& options) {
  std::vector<task<int>> tasks;
  tasks.reserve(static_cast<std::size_t>(count));
  std::vector<std::uint64_t> deaths;
  tally ends;
  for (int i = 0; i < count; ++i) {
    tasks.push_back(workers.submit(options, three_times, i));
  }
  for (int i = 0; i < count; ++i) {
    task<int>& each = tasks[static_cast<std::size_t>(i)];
    if (each.wait_for(patience) != std::future_status::ready) {
      workers.terminate();
      throw std::runtime_error("task " + std::to_string(i) + " has no outcome");
    }
    try {
      EXPECT_EQ(each.get(), 3 * i);
      ++ends.returned;
    } catch (const worker_died& death) {
      EXPECT_EQ(death.task(), static_cast<std::uint64_t>(i));
      ++ends.died;
    }
  }
  return ends;
}

TEST(PoolLoadKill, EveryTaskOfAHundredThousandIsReturnedOrReportedDeadOnce) {
  const int count = 100'000;
  tally ends;
  long kills = 0;
  {
    pool workers(2);
    killer_of_children killer(5ms);
    ends = run_all(workers, count, {});
    kills = killer.stop();
  }
  EXPECT_EQ(ends.returned + ends.died, count);
  EXPECT_GT(kills, 0);
  EXPECT_LE(ends.died, kills) << "no kill fails more than one task";
  EXPECT_FALSE(has_children());
  std::printf("%ld kills: %ld tasks returned, %ld reported dead\n", kills, ends.returned, ends.died);
}

TEST(PoolLoadKill, WithRetriesAllSucceed) {
  const int count = long_test() ? 100'000 : 30'000;
  tally ends;
  long kills = 0;
  {
    pool workers(2);
    killer_of_children killer(5ms);
    ends = run_all(workers, count, {.retries = 1000});
    kills = killer.stop();
  }
  EXPECT_EQ(ends.returned, count);
  EXPECT_GT(kills, 0);
  std::printf("%ld kills: %ld tasks returned\n", kills, ends.returned);
}

TEST(PoolLoadKill, WithRetriesAllSucceedInWorkersThatAreExecutedAnew) {
  const int count = 10'000;
  tally ends;
  long kills = 0;
  {
    pool workers(2, {.method = shoal::start_method::spawn});
    killer_of_children killer(slow_start ? 1s : 25ms);
    ends = run_all(workers, count, {.retries = 1000});
    kills = killer.stop();
  }
  EXPECT_EQ(ends.returned, count);
  std::printf("%ld kills: %ld tasks returned\n", kills, ends.returned);
}

TEST(PoolLoadKill, MapWithRetriesReturnsAll) {
  std::vector<int> numbers(10'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<int>(i);
  }
  pool workers(2);
  killer_of_children killer(5ms);
  const std::vector<int> results = workers.map(three_times, numbers, {.chunk_size = 5, .tasks = {.retries = 1000}});
  killer.stop();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(results[i], 3 * numbers[i]);
  }
}

// Everything at once: kills, cancels, timeouts, retries and recycling.
TEST(PoolLoadKill, TasksThatAreKilledCancelledOrLateHaveOneOutcomeEach) {
  const std::ptrdiff_t descriptors = open_descriptors();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::map<std::string, int> ends;
  {
    pool workers(3, {.max_tasks_per_worker = 50});
    killer_of_children killer(10ms);
    const shoal::deadline until = shoal::after(long_test() ? 30s : 3s);
    while (std::chrono::steady_clock::now() < until) {
      std::vector<task<int>> tasks;
      std::vector<bool> cancelled;
      for (int i = 0; i < 200; ++i) {
        const bool slow = random() % 50 == 0;
        tasks.push_back(workers.submit(
            {.timeout = slow ? 1ms : 10s, .retries = random() % 2},
            [](int number, bool sleeps) {
              std::this_thread::sleep_for(sleeps ? 10s : 10us);
              return three_times(number);
            },
            i, slow));
      }
      for (task<int>& each : tasks) {
        cancelled.push_back(random() % 10 == 0 && each.cancel());
      }
      for (int i = 0; i < 200; ++i) {
        const auto at = static_cast<std::size_t>(i);
        ASSERT_EQ(tasks[at].wait_for(patience), std::future_status::ready) << "task " << i << " of a round";
        try {
          ASSERT_EQ(tasks[at].get(), 3 * i);
          ++ends["returned"];
          ASSERT_FALSE(cancelled[at]);
        } catch (const worker_died&) {
          ++ends["died"];
          ASSERT_FALSE(cancelled[at]);
        } catch (const task_timed_out&) {
          ++ends["timed out"];
          ASSERT_FALSE(cancelled[at]);
        } catch (const task_cancelled&) {
          ++ends["cancelled"];
          ASSERT_TRUE(cancelled[at]);
        }
      }
    }
    killer.stop();
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_FALSE(has_children());
  for (const auto& [how, count] : ends) {
    std::printf("%d %s\n", count, how.c_str());
  }
}

}  // namespace
