// Pools and work queues whose workers are killed, at random and at every instruction.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <future>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "pool_kill_support.hpp"
#include "process_support.hpp"
#include "ptrace_step.hpp"
#include "shoal/pool.hpp"
#include "shoal/work_queue.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::encoding;
using shoal::no_waiting;
using shoal::outcome;
using shoal::outcome_batch;
using shoal::pool;
using shoal::queue_status;
using shoal::taken_task;
using shoal::work_queue;
using shoal::worker_died;
using shoal::test::has_children;
using shoal::test::kill_one;
using shoal::test::may_trace;
using shoal::test::open_descriptors;
using shoal::test::patience;
using shoal::test::run_and_kill_after;
using shoal::test::shared;

TEST(PoolKill, EveryTaskOfManyIsReturnedOrReportedDeadExactlyOnce) {
  constexpr int count = 2000;
  const shared<std::array<std::atomic<int>, count>> started;
  const auto sometimes_fatal = [runs = &*started](int number) {
    ++(*runs)[static_cast<std::size_t>(number)];
    if (number % 20 == 7) {
      std::raise(SIGKILL);
    }
    return 3 * number;
  };
  int returned = 0;
  int died = 0;
  {
    pool workers(2);
    std::vector<shoal::task<int>> results;
    results.reserve(count);
    for (int i = 0; i < count; ++i) {
      results.push_back(workers.submit(sometimes_fatal, i));
    }
    for (int i = 0; i < count; ++i) {
      shoal::task<int>& result = results[static_cast<std::size_t>(i)];
      ASSERT_EQ(result.wait_for(patience), std::future_status::ready) << "task " << i;
      try {
        ASSERT_EQ(result.get(), 3 * i);
        ++returned;
      } catch (const worker_died& death) {
        ASSERT_EQ(death.task(), static_cast<std::uint64_t>(i));
        ++died;
      }
    }
  }
  EXPECT_EQ(died, count / 20);
  EXPECT_EQ(returned, count - count / 20);
  for (const std::atomic<int>& runs : *started) {
    EXPECT_EQ(runs, 1);
  }
}

TEST(PoolKill, RandomKillsLoseNoOutcome) {
  constexpr int batch = 200;
  const std::ptrdiff_t descriptors = open_descriptors();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::atomic<bool> stop = false;
  int kills = 0;
  long returned = 0;
  long died = 0;
  {
    pool workers(3);
    std::thread killer([&, random = std::mt19937(seed + 1)]() mutable {
      while (!stop) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
        kills += kill_one(random) ? 1 : 0;
      }
    });
    const auto busy = [](const std::string& text) {
      std::this_thread::sleep_for(std::chrono::microseconds(text.size() % 100));
      return text + text;
    };
    const shoal::deadline until = shoal::after(2s);
    bool all_in_time = true;
    while (all_in_time && std::chrono::steady_clock::now() < until) {
      std::vector<shoal::task<std::string>> results;
      results.reserve(batch);
      for (int i = 0; i < batch; ++i) {
        results.push_back(workers.submit(busy, std::string(random() % 3000, 'x')));
      }
      for (auto& result : results) {
        all_in_time = all_in_time && result.wait_for(patience) == std::future_status::ready;
        if (!all_in_time) {
          break;
        }
        try {
          result.get();
          ++returned;
        } catch (const worker_died&) {
          ++died;
        }
      }
    }
    stop = true;
    killer.join();
    EXPECT_TRUE(all_in_time) << "a task never got an outcome";
    if (!all_in_time) {
      workers.terminate();
    } else {
      EXPECT_EQ((returned + died) % batch, 0);
    }
  }
  EXPECT_GT(kills, 20);
  EXPECT_GT(returned, batch);
  EXPECT_LE(died, kills) << "no kill fails more than one task";
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_FALSE(has_children());
  std::printf("%d kills: %ld tasks returned, %ld reported dead\n", kills, returned, died);
}

void run_tasks(work_queue& work, std::size_t slot) {
  taken_task taken;
  while (work.take(slot, taken, no_waiting) == queue_status::ok) {
    work.finish(slot, taken.ticket(), encoding::raw, taken.bytes());
  }
}

struct kill_point {
  std::map<std::uint64_t, int> outcomes;  // by ticket
  long instructions = 0;                  // that the worker got to run
  bool lost_a_task = false;
};

// Of three tasks, the one in the middle is withdrawn before a worker takes any.
kill_point try_kill_point(long instructions) {
  work_queue work(2);
  for (int i = 0; i < 3; ++i) {
    work.submit(encoding::raw, shoal::const_bytes{});
  }
  EXPECT_EQ(work.withdraw(1).result, work_queue::call_off_result::withdrawn);
  kill_point result;
  result.instructions = run_and_kill_after([&] { run_tasks(work, 0); }, instructions).steps;
  work.lost(0);
  run_tasks(work, 1);

  outcome_batch received;
  while (work.next(received, 1, no_waiting) == queue_status::ok) {
    for (const outcome& each : received) {
      if (each.what != outcome::kind::worker_lost) {
        EXPECT_EQ(each.what == outcome::kind::called_off, each.ticket == 1);
        ++result.outcomes[each.ticket];
      } else if (const std::optional<std::uint64_t> ticket = work.reclaim(each.slot)) {
        ++result.outcomes[*ticket];
        result.lost_a_task = true;
      }
    }
  }
  return result;
}

// At instructions chosen at random, for some seconds: each costs as many steps as come before it.
TEST(WorkQueueKill, EveryTaskHasOneOutcomeWhereverItsWorkerIsKilled) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "instrumented code has too many instructions";
#endif
  if (!may_trace()) {
    GTEST_SKIP() << "ptrace is not permitted here";
  }
  const std::map<std::uint64_t, int> one_each{{0, 1}, {1, 1}, {2, 1}};
  const long all = try_kill_point(std::numeric_limits<long>::max()).instructions;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int points = 0;
  int lost = 0;
  for (const shoal::deadline until = shoal::after(3s); std::chrono::steady_clock::now() < until; ++points) {
    const long instructions = static_cast<long>(random() % static_cast<unsigned long>(all));
    const kill_point result = try_kill_point(instructions);
    ASSERT_EQ(result.outcomes, one_each) << "killed after " << instructions << " instructions";
    lost += result.lost_a_task ? 1 : 0;
    ASSERT_FALSE(HasFailure()) << "killed after " << instructions << " instructions";
  }
  std::printf("%d of %ld instructions, %d tasks lost with their worker\n", points, all, lost);
  EXPECT_GT(points, 0);
}

}  // namespace
