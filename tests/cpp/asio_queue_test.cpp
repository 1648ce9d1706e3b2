// Queues, events and processes in coroutines of Asio, where it is installed.

#define ASIO_STANDALONE
#if __has_include(<asio.hpp>)
#include <asio.hpp>
#endif

// ThreadSanitizer does not know the fences that Asio uses.
#if defined(ASIO_HAS_CO_AWAIT) && !defined(__SANITIZE_THREAD__)

#include "shoal/asio.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <asio/experimental/awaitable_operators.hpp>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "process_support.hpp"

namespace {

using namespace std::chrono_literals;
using asio::awaitable;
using asio::use_awaitable;
using asio::experimental::awaitable_operators::operator||;
using shoal::event;
using shoal::process;
using shoal::queue;
using shoal::test::open_descriptors;

/// Runs until nothing is left to be done, and not for ever.
void run(asio::io_context& context) {
  context.restart();
  context.run_for(shoal::test::patience);
  if (!context.stopped()) {
    throw std::runtime_error("a coroutine did not come to its end");
  }
}

/// Throws what the coroutine throws, once the context has nothing left to do.
void run(asio::io_context& context, awaitable<void> coroutine) {
  std::exception_ptr thrown;
  asio::co_spawn(context, std::move(coroutine), [&](const std::exception_ptr& failure) { thrown = failure; });
  run(context);
  if (thrown) {
    std::rethrow_exception(thrown);
  }
}

std::error_code code_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::system_error& error) {
    return error.code();
  }
}

/// What an operation has ended with.
struct outcome {
  int calls = 0;
  std::error_code failure;
  int value = 0;

  void operator()(const std::exception_ptr& thrown, int result = 0) {
    ++calls;
    failure = thrown ? code_of(thrown) : std::error_code();
    value = result;
  }
};

TEST(QueueInAsio, PopsUntilItIsClosedAndDrained) {
  queue<int> numbers;
  process child([&] {
    for (int i = 1; i <= 1000; ++i) {
      numbers.push(i);
    }
    numbers.close();
  });
  asio::io_context context;
  std::vector<int> received;
  const auto receive = [&]() -> awaitable<void> {
    for (;;) {
      received.push_back(co_await numbers.async_pop(use_awaitable));
    }
  };
  try {
    run(context, receive());
    FAIL() << "ended";
  } catch (const shoal::error& end) {
    EXPECT_EQ(end.code(), shoal::errc::closed);
  }
  ASSERT_EQ(received.size(), 1000);
  for (std::size_t i = 0; i < received.size(); ++i) {
    EXPECT_EQ(received[i], static_cast<int>(i) + 1);
  }
  child.join();
}

TEST(QueueInAsio, PushesWhenThereIsRoom) {
  queue<std::string> lines(2);
  process child([&] {
    std::size_t length = 0;
    for (const std::string& line : lines) {
      length += line.size();
    }
    return length == 1000 ? 0 : 1;
  });
  asio::io_context context;
  run(context, [](queue<std::string>& to) -> awaitable<void> {
    for (int i = 0; i < 200; ++i) {
      co_await to.async_push("12345", use_awaitable);
    }
    to.close();
  }(lines));
  EXPECT_TRUE(child.join().success());
}

TEST(QueueInAsio, PushToAClosedQueueFails) {
  queue<int> numbers;
  numbers.close();
  asio::io_context context;
  outcome pushed;
  numbers.async_push(1, asio::bind_executor(context, std::ref(pushed)));
  run(context);
  EXPECT_EQ(pushed.failure, shoal::errc::closed);
}

TEST(QueueInAsio, CloseEndsAPopThatWaits) {
  queue<int> numbers;
  asio::io_context context;
  outcome popped;
  numbers.async_pop(asio::bind_executor(context, std::ref(popped)));
  context.poll();
  EXPECT_EQ(popped.calls, 0);
  numbers.close();
  run(context);
  EXPECT_EQ(popped.failure, shoal::errc::closed);
}

TEST(QueueInAsio, HandlerIsNotCalledByTheInitiatingFunction) {
  queue<int> numbers;
  numbers.push(7);
  asio::io_context context;
  asio::post(context, [&] {
    auto popped = std::make_shared<outcome>();
    numbers.async_pop(asio::bind_executor(context, [popped](const std::exception_ptr& failure, int value) {
      (*popped)(failure, value);
      EXPECT_EQ(popped->value, 7);
    }));
    EXPECT_EQ(popped->calls, 0);
    EXPECT_EQ(numbers.size(), 1);
  });
  run(context);
  EXPECT_TRUE(numbers.empty());
}

TEST(QueueInAsio, AnItemThatIsThereTakesNoDescriptor) {
  queue<int> numbers;
  numbers.push(7);
  asio::io_context context;
  outcome popped;
  const auto before = open_descriptors();
  numbers.async_pop(asio::bind_executor(context, std::ref(popped)));
  context.poll();
  EXPECT_EQ(popped.value, 7);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(QueueInAsio, SetsAFuture) {
  queue<int> numbers;
  asio::io_context context;
  std::future<int> popped = numbers.async_pop(asio::bind_executor(context, asio::use_future));
  context.poll();
  numbers.push(3);
  run(context);
  EXPECT_EQ(popped.get(), 3);
}

TEST(QueueInAsio, WhatIsNoTIsThrown) {
  queue<int> numbers;
  queue<std::string>::attach(numbers.descriptors()).push("three");
  asio::io_context context;
  outcome popped;
  numbers.async_pop(asio::bind_executor(context, std::ref(popped)));
  run(context);
  EXPECT_EQ(popped.failure, shoal::errc::wrong_type);
}

TEST(QueueInAsio, ACancelledPopLeavesTheItem) {
  for (const bool is_waiting : {false, true}) {
    queue<int> numbers;
    asio::io_context context;
    asio::cancellation_signal cancel;
    outcome popped;
    numbers.async_pop(asio::bind_cancellation_slot(cancel.slot(), asio::bind_executor(context, std::ref(popped))));
    if (is_waiting) {
      context.poll();
    }
    numbers.push(5);
    cancel.emit(asio::cancellation_type::total);
    run(context);
    EXPECT_EQ(popped.calls, 1);
    EXPECT_EQ(popped.failure, asio::error::operation_aborted);
    EXPECT_EQ(numbers.try_pop(), 5);
  }
}

TEST(QueueInAsio, ACancelledPushHasPushedNothing) {
  queue<int> numbers(1);
  numbers.push(1);
  asio::io_context context;
  asio::cancellation_signal cancel;
  outcome pushed;
  numbers.async_push(2, asio::bind_cancellation_slot(cancel.slot(), asio::bind_executor(context, std::ref(pushed))));
  context.poll();
  EXPECT_EQ(numbers.try_pop(), 1);
  cancel.emit(asio::cancellation_type::terminal);
  run(context);
  EXPECT_EQ(pushed.failure, asio::error::operation_aborted);
  EXPECT_TRUE(numbers.empty());
}

TEST(QueueInAsio, ACancelledCoroutineLeavesTheItem) {
  queue<int> numbers;
  asio::io_context context;
  asio::cancellation_signal cancel;
  const auto pop = [&]() -> awaitable<void> { co_await numbers.async_pop(use_awaitable); };
  std::exception_ptr thrown;
  asio::co_spawn(context, pop(), asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr& failure) {
                   thrown = failure;
                 }));
  context.poll();
  cancel.emit(asio::cancellation_type::terminal);
  numbers.push(5);
  run(context);
  EXPECT_EQ(code_of(thrown), asio::error::operation_aborted);
  EXPECT_EQ(numbers.try_pop(), 5);
}

/// Ends after so many steps of the context.
awaitable<void> pass(unsigned steps) {
  for (; steps > 0; --steps) {
    co_await asio::post(use_awaitable);
  }
}

// Coroutines that give up after a few steps: before the operation begins, while it waits, and when an item has come.
TEST(QueueInAsio, NoItemIsLostByCancelling) {
  constexpr int count = 100'000;
  queue<int> numbers(1000);
  process child([&] {
    for (int i = 0; i < count; ++i) {
      numbers.push(i);
    }
    numbers.close();
  });
  asio::io_context context;
  std::vector<char> received(count);
  int given_up = 0;
  const auto receive = [&](unsigned seed) -> awaitable<void> {
    std::minstd_rand random(seed);
    while (!numbers.closed() || !numbers.empty()) {
      const auto result = co_await (numbers.async_pop(use_awaitable) || pass(static_cast<unsigned>(random() % 4)));
      if (const int* const number = std::get_if<0>(&result)) {
        ++received[static_cast<std::size_t>(*number)];
      } else {
        ++given_up;
      }
    }
  };
  for (unsigned seed = 1; seed <= 4; ++seed) {
    asio::co_spawn(context, receive(seed), asio::detached);
  }
  run(context);
  EXPECT_TRUE(child.join().success());
  EXPECT_EQ(std::count(received.begin(), received.end(), 1), count);
  EXPECT_GT(given_up, 0);
}

TEST(QueueInAsio, ContextsOfSeveralThreadsShareAQueue) {
  constexpr int count = 30'000;
  queue<int> numbers;
  process child([&] {
    for (int i = 1; i <= count; ++i) {
      numbers.push(1);
    }
    numbers.close();
  });
  std::atomic<int> sum = 0;
  const auto receive = [&]() -> awaitable<void> {
    for (;;) {
      sum += co_await numbers.async_pop(use_awaitable);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      asio::io_context context;
      for (int k = 0; k < 3; ++k) {
        asio::co_spawn(context, receive(), asio::detached);
      }
      run(context);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  child.join();
  EXPECT_EQ(sum, count);
}

TEST(QueueInAsio, ThreadsOfOneContextShareAQueue) {
  constexpr int count = 30'000;
  queue<int> numbers;
  queue<int> echoes(10);
  asio::io_context context;
  std::atomic<int> sum = 0;
  const auto pass_on = [&]() -> awaitable<void> {
    for (;;) {
      co_await echoes.async_push(co_await numbers.async_pop(use_awaitable), use_awaitable);
    }
  };
  const auto receive = [&]() -> awaitable<void> {
    for (int i = 0; i < count / 2; ++i) {
      sum += co_await echoes.async_pop(use_awaitable);
    }
  };
  for (int i = 0; i < 2; ++i) {
    asio::co_spawn(context, pass_on(), asio::detached);
    asio::co_spawn(context, receive(), asio::detached);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { context.run_for(shoal::test::patience); });
  }
  for (int i = 0; i < count; ++i) {
    numbers.push(1);
  }
  numbers.close();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(sum, count);
}

TEST(QueueInAsio, OneItemEndsOneOfManyPops) {
  queue<int> numbers;
  asio::io_context context;
  std::vector<outcome> popped(50);
  for (outcome& each : popped) {
    numbers.async_pop(asio::bind_executor(context, std::ref(each)));
  }
  const auto ended = [&] {
    context.poll();
    int calls = 0;
    for (const outcome& each : popped) {
      calls += each.calls;
    }
    return calls;
  };
  for (int i = 1; i <= 50; ++i) {
    numbers.push(i);
    EXPECT_TRUE(shoal::test::eventually([&] { return ended() == i; }));
  }
}

TEST(QueueInAsio, AContextMayEndBeforeWhatWaitsInIt) {
  queue<int> numbers(1);
  numbers.push(1);
  (void)numbers.native_handle();
  (void)numbers.room_handle();
  const auto before = open_descriptors();
  {
    asio::io_context context;
    outcome never;
    queue<int> empty;
    numbers.async_push(2, asio::bind_executor(context, std::ref(never)));
    empty.async_pop(asio::bind_executor(context, std::ref(never)));
    context.poll();
    EXPECT_GT(open_descriptors(), before);
    EXPECT_EQ(never.calls, 0);
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(shoal::test::is_readable(numbers.native_handle()));
  EXPECT_EQ(numbers.try_pop(), 1);
}

TEST(QueueInAsio, LeavesNoDescriptorBehind) {
  queue<int> numbers;
  asio::io_context context;
  const auto pop_once = [&](int value) {
    outcome popped;
    numbers.async_pop(asio::bind_executor(context, std::ref(popped)));
    context.restart();
    context.poll();
    numbers.push(value);
    run(context);
    EXPECT_EQ(popped.value, value);
  };
  pop_once(-1);  // the context makes some of its own
  const auto before = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    pop_once(i);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(QueueInAsio, AForkHasAContextOfItsOwn) {
  queue<int> questions;
  queue<int> answers;
  asio::io_context context;
  outcome popped;
  answers.async_pop(asio::bind_executor(context, std::ref(popped)));
  context.poll();
  process child([&] {
    asio::io_context own;
    run(own, [](queue<int>& from, queue<int>& to) -> awaitable<void> {
      co_await to.async_push(2 * co_await from.async_pop(use_awaitable), use_awaitable);
    }(questions, answers));
  });
  questions.push(21);
  run(context);
  EXPECT_EQ(popped.value, 42);
  EXPECT_TRUE(child.join().success());
}

TEST(QueueInAsio, AForkMayGoOnWithItsParentsContext) {
  queue<int> numbers;
  asio::io_context context;
  outcome popped;
  numbers.async_pop(asio::bind_executor(context, std::ref(popped)));
  context.poll();
  context.notify_fork(asio::execution_context::fork_prepare);
  process child([&] {
    context.notify_fork(asio::execution_context::fork_child);
    run(context);
    return popped.value;
  });
  context.notify_fork(asio::execution_context::fork_parent);
  numbers.push(42);
  EXPECT_EQ(child.join().code(), 42);
  numbers.push(43);
  run(context);
  EXPECT_EQ(popped.value, 43);
}

TEST(EventInAsio, IsWaitedFor) {
  event ready;
  asio::io_context context;
  outcome waited;
  ready.async_wait(asio::bind_executor(context, std::ref(waited)));
  context.poll();
  EXPECT_EQ(waited.calls, 0);
  process child([&] { ready.set(); });
  run(context);
  EXPECT_EQ(waited.calls, 1);
  EXPECT_FALSE(waited.failure);
  child.join();
}

TEST(EventInAsio, IsGivenUp) {
  event never;
  asio::io_context context;
  std::size_t which = 0;
  run(context, [](event& awaited, std::size_t& first) -> awaitable<void> {
    asio::steady_timer soon(co_await asio::this_coro::executor, 1ms);
    const auto result = co_await (awaited.async_wait(use_awaitable) || soon.async_wait(use_awaitable));
    first = result.index();
  }(never, which));
  EXPECT_EQ(which, 1);
}

TEST(ProcessInAsio, IsJoined) {
  queue<int> go;
  process child([&] { return go.pop(); });
  asio::io_context context;
  std::optional<shoal::exit_status> status;
  asio::co_spawn(
      context, [&]() -> awaitable<void> { status = co_await child.async_join(use_awaitable); }, asio::detached);
  context.poll();
  EXPECT_FALSE(status);
  go.push(3);
  run(context);
  EXPECT_EQ(status, shoal::exit_status::exited_with(3));
  EXPECT_FALSE(child.joinable());
}

TEST(ProcessInAsio, WhatItThrewIsThrown) {
  process child([] { throw std::runtime_error("no such row"); });
  asio::io_context context;
  const auto join = [&]() -> awaitable<void> { co_await child.async_join(use_awaitable); };
  EXPECT_THROW(run(context, join()), shoal::remote_error);
}

TEST(ProcessInAsio, ACancelledJoinLeavesItJoinable) {
  queue<int> go;
  process child([&] { return go.pop(); });
  asio::io_context context;
  asio::cancellation_signal cancel;
  std::exception_ptr thrown;
  child.async_join(asio::bind_cancellation_slot(
      cancel.slot(),
      asio::bind_executor(context, [&](const std::exception_ptr& failure, shoal::exit_status) { thrown = failure; })));
  context.poll();
  cancel.emit(asio::cancellation_type::total);
  run(context);
  EXPECT_EQ(code_of(thrown), asio::error::operation_aborted);
  go.push(3);
  EXPECT_EQ(child.join().code(), 3);
}

}  // namespace

#endif
