// A program with Asio that shows, in a line of a terminal, what a worker process counts.
//
//     asio
//
// The worker's numbers wake Asio's own loop through the queue's descriptor: there is no thread, and nothing is polled.
// Enter or Ctrl-C end the program; the worker is told by a second queue.

#include <unistd.h>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <functional>
#include <iostream>
#include <shoal/asio.hpp>
#include <shoal/process.hpp>
#include <shoal/queue.hpp>
#include <string>

namespace {

using namespace asio::experimental::awaitable_operators;
using asio::use_awaitable;

/// What the worker does: push a number a hundred times a second, until a command comes.
void count(shoal::queue<int>& numbers, shoal::queue<std::string>& commands) {
  std::signal(SIGINT, SIG_IGN);  // a terminal's Ctrl-C goes to all its processes
  for (int number = 1; !commands.pop_for(std::chrono::milliseconds(10)); ++number) {
    numbers.push(number);
  }
}

asio::awaitable<void> show(shoal::queue<int>& numbers) {
  for (;;) {
    std::cout << '\r' << co_await numbers.async_pop(use_awaitable) << std::flush;
  }
}

asio::awaitable<void> until_told() {
  const auto executor = co_await asio::this_coro::executor;
  asio::signal_set interrupt(executor, SIGINT);
  asio::posix::stream_descriptor keys(executor, ::dup(STDIN_FILENO));
  co_await (interrupt.async_wait(use_awaitable) ||
            keys.async_wait(asio::posix::descriptor_base::wait_read, use_awaitable));
}

}  // namespace

int main() {
  shoal::queue<int> numbers;
  shoal::queue<std::string> commands;
  // Before there is a context of Asio's, which is not for two processes.
  shoal::process worker({.daemon = true}, count, std::ref(numbers), std::ref(commands));

  asio::io_context context;
  const auto run = [&]() -> asio::awaitable<void> {
    co_await (show(numbers) || until_told());  // which cancels show, and loses no number
    co_await commands.async_push("quit", use_awaitable);
    const shoal::exit_status status = co_await worker.async_join(use_awaitable);
    std::cout << "\nthe worker " << to_string(status) << '\n';
  };
  asio::co_spawn(context, run(), [](const std::exception_ptr& failure) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  });
  context.run();
}
