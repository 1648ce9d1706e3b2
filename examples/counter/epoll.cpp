// A program with a loop of its own, by epoll, that shows in a line of a terminal what a worker process counts.
//
//     epoll
//
// The worker's numbers wake the loop through the queue's descriptor: there is no thread, and nothing is polled. Enter
// or Ctrl-C end the program; the worker is told by a second queue.

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <shoal/process.hpp>
#include <shoal/queue.hpp>
#include <string>
#include <system_error>
#include <vector>

namespace {

/// What the worker does: push a number a hundred times a second, until a command comes.
void count(shoal::queue<int>& numbers, shoal::queue<std::string>& commands) {
  for (int number = 1; !commands.pop_for(std::chrono::milliseconds(10)); ++number) {
    numbers.push(number);
  }
}

int checked(int result, const char* what) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  return result;
}

void listen_to(int descriptor, int poller) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
  checked(::epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event), "epoll_ctl");
}

void show(shoal::queue<int>& numbers) {
  // No more than a hundred at a time, so that the loop comes to what else is ready however many come. What is left
  // ends the next epoll_wait at once.
  const std::vector<int> some = numbers.try_pop_many(100);
  if (!some.empty()) {
    std::cout << '\r' << some.back() << std::flush;
  }
}

}  // namespace

int main() {
  // Ctrl-C is read from a descriptor here, and ignored by the worker: a terminal sends it to both.
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  sigprocmask(SIG_BLOCK, &interrupt, nullptr);

  shoal::queue<int> numbers;
  shoal::queue<std::string> commands;
  shoal::process worker({.daemon = true}, count, std::ref(numbers), std::ref(commands));

  const int poller = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  listen_to(numbers.native_handle(), poller);
  listen_to(STDIN_FILENO, poller);
  listen_to(checked(::signalfd(-1, &interrupt, SFD_CLOEXEC), "signalfd"), poller);
  for (;;) {
    epoll_event ready{};
    checked(::epoll_wait(poller, &ready, 1, -1), "epoll_wait");
    if (ready.data.fd != numbers.native_handle()) {
      break;  // Enter or Ctrl-C
    }
    show(numbers);
  }

  commands.push("quit");
  std::cout << "\nthe worker " << to_string(worker.join()) << '\n';
}
