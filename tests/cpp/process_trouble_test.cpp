// Processes in circumstances that are not the usual: closed streams, tracers, forks of the starter.

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <system_error>

#include "lock_support.hpp"
#include "os/pidfd.hpp"
#include "process_support.hpp"
#include "shoal/event.hpp"
#include "shoal/jprocess.hpp"
#include "shoal/process.hpp"
#include "start_method_support.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::event;
using shoal::exit_status;
using shoal::jprocess;
using shoal::process;
using shoal::process_options;

class ProcessTrouble : public shoal::test::by_each_method {};

INSTANTIATE_BY_EACH_METHOD(ProcessTrouble);

/// Runs a function in a plain fork. @return its result, or -1 if it did not get that far.
int in_fork(const std::function<int()>& function) {
  const pid_t id = ::fork();
  if (id == 0) {
    int code = -1;
    try {
      code = function();
    } catch (...) {
      code = 99;
    }
    ::_exit(code);
  }
  int status = 0;
  while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int print_and_return_seven() {
  for (int i = 0; i < 100; ++i) {
    std::puts("this must not get into what the processes say to each other");
    std::fputs("nor this\n", stderr);
  }
  return 7;
}

TEST_P(ProcessTrouble, WhatIsPrintedIsNotTakenForSomethingElseWhereTheStandardStreamsAreClosed) {
  const int code = in_fork([this] {
    for (int stream = 0; stream <= 2; ++stream) {
      ::close(stream);
    }
    int sum = 0;
    for (int i = 0; i < 3; ++i) {
      process child(process_options{.method = GetParam()}, print_and_return_seven);
      sum += child.join().code();
    }
    return sum;
  });
  EXPECT_EQ(code, 3 * 7);
}

int return_seven_when_told(event& go_on) {
  go_on.wait();
  return 7;
}

TEST_P(ProcessTrouble, TheEndOfATracedChildIsKnownWhenItsTracerHasSeenIt) {
  event go_on;
  process child(process_options{.method = GetParam()}, return_seven_when_told, std::ref(go_on));
  const pid_t traced = child.id();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t tracer = ::fork();
  if (tracer == 0) {
    const bool traces = ::ptrace(PTRACE_SEIZE, traced, nullptr, nullptr) == 0;
    const char answer = traces ? 'y' : 'n';
    (void)!::write(ends[1], &answer, 1);
    // Looks later than everybody else.
    const bool ended = traces && shoal::test::eventually([&] { return shoal::test::state_of(traced) == 'Z'; });
    std::this_thread::sleep_for(100ms);
    int status = 0;
    ::waitpid(traced, &status, __WALL);
    ::_exit(ended ? 0 : 1);
  }
  char answer = 0;
  ASSERT_EQ(::read(ends[0], &answer, 1), 1);
  go_on.set();
  EXPECT_EQ(child.join_for(20s), exit_status::exited_with(7));
  int status = 0;
  ::waitpid(tracer, &status, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  if (answer != 'y') {
    GTEST_SKIP() << "ptrace is not permitted here";
  }
  EXPECT_EQ(status, 0);
}

TEST_P(ProcessTrouble, AForkOfTheStarterCannotJoinTheChild) {
  event go_on;
  process child(process_options{.method = GetParam()}, return_seven_when_told, std::ref(go_on));
  const int code = in_fork([&] {
    go_on.set();
    try {
      (void)child.join();
    } catch (const std::system_error& failure) {
      // Since Linux 6.15 the kernel tells how somebody else's child has ended.
      return failure.code() == std::errc::no_child_process ? 1 : 2;
    }
    return 1;
  });
  EXPECT_EQ(code, 1);
  EXPECT_EQ(child.join(), exit_status::exited_with(7));
}

int run_until_stopped(const shoal::stop_token& stop, event& began) {
  began.set();
  while (!stop.wait_for(1s)) {
  }
  return 7;
}

TEST_P(ProcessTrouble, AForkOfTheStarterStopsNobodyByDestroyingItsCopy) {
  event began;
  jprocess worker(process_options{.method = GetParam()}, run_until_stopped, std::ref(began));
  began.wait();
  EXPECT_EQ(in_fork([&] {
              jprocess copy = std::move(worker);
              copy = jprocess();
              return 3;
            }),
            3);
  EXPECT_FALSE(worker.get_stop_token().stop_requested());
  EXPECT_TRUE(worker.request_stop());
  EXPECT_EQ(worker.join(), exit_status::exited_with(7));
}

}  // namespace
