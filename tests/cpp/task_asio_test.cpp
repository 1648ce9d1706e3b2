// Tasks of pools in coroutines of Asio, where it is installed.

#define ASIO_STANDALONE
#if __has_include(<asio.hpp>)
#include <asio.hpp>
#endif

// ThreadSanitizer does not know the fences that Asio uses.
#if defined(ASIO_HAS_CO_AWAIT) && !defined(__SANITIZE_THREAD__)

#include "shoal/asio.hpp"

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "pool_support.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::async_get;
using shoal::pool;
using shoal::worker_died;
using shoal::test::die;
using shoal::test::twice;

/// Runs until nothing is left to be done, and not for ever.
void run(asio::io_context& context) {
  context.run_for(shoal::test::patience);
  if (!context.stopped()) {
    throw std::runtime_error("a coroutine did not come to its end");
  }
}

TEST(TaskInAsio, IsAwaited) {
  pool workers(2);
  asio::io_context context;
  const std::thread::id here = std::this_thread::get_id();
  int sum = 0;
  const auto add_up = [&]() -> asio::awaitable<void> {
    for (int i = 1; i <= 10; ++i) {
      sum += co_await async_get(workers.submit(twice, i), asio::use_awaitable);
      EXPECT_EQ(std::this_thread::get_id(), here) << "goes on where the coroutine runs";
    }
    co_await async_get(workers.submit([] {}), asio::use_awaitable);
  };
  asio::co_spawn(context, add_up(), [](const std::exception_ptr& failure) { EXPECT_EQ(failure, nullptr); });
  run(context);
  EXPECT_EQ(sum, 110);
}

TEST(TaskInAsio, ManyCoroutinesWaitAtOnce) {
  pool workers(2);
  asio::io_context context;
  std::vector<int> results(50);
  for (int i = 0; i < 50; ++i) {
    asio::co_spawn(
        context,
        [&workers, &result = results[static_cast<std::size_t>(i)], i]() -> asio::awaitable<void> {
          result = co_await async_get(workers.submit(twice, i), asio::use_awaitable);
        },
        asio::detached);
  }
  run(context);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(results[static_cast<std::size_t>(i)], 2 * i);
  }
}

TEST(TaskInAsio, FailureIsThrown) {
  pool workers(1);
  asio::io_context context;
  std::string text;
  const auto await_death = [&]() -> asio::awaitable<void> {
    try {
      co_await async_get(workers.submit(die), asio::use_awaitable);
    } catch (const worker_died& death) {
      text = death.what();
    }
  };
  asio::co_spawn(context, await_death(), asio::detached);
  run(context);
  EXPECT_EQ(text.substr(0, 6), "task 0");
}

TEST(TaskInAsio, HandlersAreCalledAndFuturesSet) {
  pool workers(1);
  asio::io_context context;
  int got = 0;
  async_get(workers.submit(twice, 4), asio::bind_executor(context, [&](const std::exception_ptr& failure, int result) {
              EXPECT_EQ(failure, nullptr);
              got = result;
            }));
  run(context);
  EXPECT_EQ(got, 8);
}

}  // namespace

#endif
