#include "shoal/task.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <exception>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool_support.hpp"
#include "shoal/process.hpp"
#include "shoal/wait_any.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::pool;
using shoal::process;
using shoal::task;
using shoal::task_cancelled;
using shoal::worker_died;
using shoal::test::die;
using shoal::test::eventually;
using shoal::test::get;
using shoal::test::is_readable;
using shoal::test::shared;
using shoal::test::sleep_for_long;
using shoal::test::twice;

TEST(Task, HasItsResultOnce) {
  pool workers(1);
  task<int> result = workers.submit(twice, 2);
  EXPECT_TRUE(result.valid());
  EXPECT_EQ(result.get(), 4);
  EXPECT_FALSE(result.valid());
  EXPECT_THROW(result.get(), std::future_error);
  EXPECT_THROW(task<int>().wait(), std::future_error);
}

TEST(Task, WaitsNoLongerThanAsked) {
  const shared<std::atomic<bool>> go;
  pool workers(1);
  const task<void> result = workers.submit([may = &*go] {
    while (!*may) {
      std::this_thread::sleep_for(1ms);
    }
  });
  EXPECT_EQ(result.wait_for(1ms), std::future_status::timeout);
  EXPECT_FALSE(result.ready());
  *go = true;
  EXPECT_EQ(result.wait_for(shoal::test::patience), std::future_status::ready);
  EXPECT_TRUE(result.ready());
}

TEST(Task, MayOutliveItsPool) {
  std::optional<pool> workers(1);
  task<int> result = workers->submit(twice, 3);
  workers.reset();
  EXPECT_TRUE(result.ready());
  EXPECT_FALSE(result.cancel());
  EXPECT_EQ(result.get(), 6);
}

TEST(Task, OnesEndDoesNotWait) {
  const shared<std::atomic<int>> done;
  pool workers(1);
  workers.submit([count = &*done] { ++*count; });
  workers.wait();
  EXPECT_EQ(*done, 1);
}

TEST(Task, ThatIsCancelledBeforeItsBeginNeverRuns) {
  const shared<std::atomic<int>> ran;
  const shared<std::atomic<bool>> go;
  pool workers(1);
  task<void> first = workers.submit([may = &*go] {
    while (!*may) {
      std::this_thread::sleep_for(1ms);
    }
  });
  std::vector<task<void>> pending;
  for (int i = 0; i < 10; ++i) {
    pending.push_back(workers.submit([count = &*ran] { ++*count; }));
  }
  for (task<void>& each : pending) {
    EXPECT_TRUE(each.cancel());
    EXPECT_TRUE(each.ready());
    EXPECT_THROW(each.get(), task_cancelled);
  }
  *go = true;
  get(std::move(first));
  EXPECT_EQ(get(workers.submit(twice, 2)), 4);
  EXPECT_EQ(*ran, 0);
}

TEST(Task, ThatIsCancelledInARunningStateLosesItsWorkerAlone) {
  const shared<std::atomic<bool>> begun;
  pool workers(1);
  for (int i = 0; i < 10; ++i) {
    *begun = false;
    task<void> running = workers.submit([it = &*begun] {
      *it = true;
      sleep_for_long();
    });
    task<int> next = workers.submit(twice, i);
    ASSERT_TRUE(eventually([&] { return begun->load(); }));
    EXPECT_TRUE(running.cancel());
    EXPECT_THROW(get(std::move(running)), task_cancelled);
    EXPECT_EQ(get(std::move(next)), 2 * i);
  }
}

TEST(Task, CancelsInARaceWithItsEndHaveOneOutcome) {
  pool workers(2);
  int cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    task<int> result = workers.submit(twice, i);
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() < begin + i % 30 * 1us) {
    }
    const bool called_off = result.cancel();
    cancelled += called_off ? 1 : 0;
    try {
      EXPECT_EQ(get(std::move(result)), 2 * i);
      EXPECT_FALSE(called_off);
    } catch (const task_cancelled&) {
      EXPECT_TRUE(called_off);
    }
  }
  EXPECT_EQ(get(workers.submit(twice, 1)), 2);
  std::printf("%d of 300 cancelled\n", cancelled);
}

TEST(Task, ThenIsCalledWithTheReadyTask) {
  pool workers(1);
  task<std::string> text = workers.submit(twice, 21).then([](task<int> done) {
    EXPECT_TRUE(done.ready());
    return std::to_string(done.get());
  });
  EXPECT_EQ(get(std::move(text)), "42");
}

TEST(Task, ThenOfAReadyTaskIsCalledAtOnce) {
  pool workers(1);
  task<int> result = workers.submit(twice, 1);
  result.wait();
  bool called = false;
  task<void> after = std::move(result).then([&](const task<int>&) { called = true; });
  EXPECT_TRUE(called);
  EXPECT_TRUE(after.ready());
}

TEST(Task, ThenMayHandleFailuresAndFail) {
  pool workers(1);
  task<int> mended = workers.submit(die).then([](task<void> failed) {
    try {
      failed.get();
      return 0;
    } catch (const worker_died&) {
      return 1;
    }
  });
  EXPECT_EQ(get(std::move(mended)), 1);
  task<void> failed = workers.submit(twice, 1).then([](const task<int>&) { throw std::out_of_range("so"); });
  EXPECT_THROW(get(std::move(failed)), std::out_of_range);
}

TEST(Task, ThenMaySubmitAndNotWait) {
  pool workers(1);
  std::promise<task<int>> next;
  get(workers.submit(twice, 1).then([&](task<int> done) { next.set_value(workers.submit(twice, done.get())); }));
  EXPECT_EQ(get(next.get_future().get()), 4);

  task<void> waits = workers.submit(twice, 1).then([&](const task<int>&) { workers.submit(twice, 1).get(); });
  try {
    get(std::move(waits));
  } catch (const std::logic_error& refused) {
    EXPECT_NE(std::string(refused.what()).find("would wait for ever"), std::string::npos);
  }
}

TEST(Task, CancelOfWhatFollowsCancelsWhatWasBefore) {
  pool workers(1);
  task<std::string> after = workers.submit(sleep_for_long).then([](task<void> before) {
    try {
      before.get();
    } catch (const task_cancelled&) {
      return std::string("cancelled");
    }
    return std::string("not cancelled");
  });
  EXPECT_TRUE(after.cancel());
  EXPECT_EQ(get(std::move(after)), "cancelled");
}

// The least coroutine that there is: it begins at once and nobody waits for it.
struct detached {
  struct promise_type {
    static detached get_return_object() { return {}; }
    static std::suspend_never initial_suspend() noexcept { return {}; }
    static std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    static void unhandled_exception() { std::terminate(); }
  };
};

detached sum_of_three(pool& workers, std::promise<int>& result) {
  int sum = 0;
  for (int i = 1; i <= 3; ++i) {
    sum += co_await workers.submit(twice, i);
  }
  result.set_value(sum);
}

TEST(Task, IsAwaitedByCoroutines) {
  pool workers(2);
  std::promise<int> result;
  std::future<int> sum = result.get_future();
  sum_of_three(workers, result);
  ASSERT_EQ(sum.wait_for(shoal::test::patience), std::future_status::ready);
  EXPECT_EQ(sum.get(), 12);
}

detached await_death(pool& workers, std::promise<std::string>& result) {
  try {
    co_await workers.submit(die);
  } catch (const worker_died& death) {
    result.set_value(death.what());
  }
}

TEST(Task, FailureIsThrownByCoAwait) {
  pool workers(1);
  std::promise<std::string> result;
  std::future<std::string> text = result.get_future();
  await_death(workers, result);
  ASSERT_EQ(text.wait_for(shoal::test::patience), std::future_status::ready);
  EXPECT_EQ(text.get().substr(0, 6), "task 0");
}

TEST(Task, IsWaitedForBesideOthers) {
  pool workers(2);
  task<void> never = workers.submit(sleep_for_long);
  task<int> soon = workers.submit(twice, 1);
  EXPECT_EQ(shoal::wait_any(never, soon), std::vector<std::size_t>{1});
  EXPECT_TRUE(is_readable(soon.native_handle()));
  EXPECT_FALSE(is_readable(never.native_handle()));
  workers.terminate();
  EXPECT_TRUE(is_readable(never.native_handle()));
}

TEST(Task, WaitingInAForkIsAnErrorAndNoHang) {
  pool workers(1);
  const task<void> running = workers.submit(sleep_for_long);
  process child([&] {
    try {
      running.wait();
    } catch (const std::logic_error&) {
      return 0;
    }
    return 1;
  });
  EXPECT_EQ(child.join(), shoal::exit_status::exited_with(0));
  workers.terminate();
}

TEST(Task, RetryIfDecidesWhatIsRunAgain) {
  const shared<std::atomic<int>> runs;
  pool workers(1);
  const auto flaky = [count = &*runs] {
    if (++*count < 3) {
      throw std::runtime_error("not yet");
    }
    return count->load();
  };
  const auto always = [](const std::exception_ptr&) { return true; };
  EXPECT_EQ(get(workers.submit({.retries = 5, .retry_if = always}, flaky)), 3);
  *runs = 0;
  EXPECT_THROW(get(workers.submit({.retries = 5}, flaky)), std::runtime_error) << "only deaths, unless told";
  EXPECT_EQ(*runs, 1);
  *runs = 0;
  EXPECT_THROW(get(workers.submit({.retries = 1, .retry_if = always}, flaky)), std::runtime_error);
  EXPECT_EQ(*runs, 2);
}

TEST(Task, RetriesAreDoneAlsoByAPoolThatIsBeingClosed) {
  const shared<std::atomic<int>> runs;
  task<int> result;
  {
    pool workers(1);
    result = workers.submit({.retries = 3}, [count = &*runs] {
      if (++*count < 3) {
        die();
      }
      return count->load();
    });
  }
  EXPECT_EQ(result.get(), 3);
}

}  // namespace
