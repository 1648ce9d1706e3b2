// Processes whose starter is killed while it starts them: before each system call, and at instructions in between.

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <thread>

#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "ptrace_step.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process_options;
using shoal::start_method;
using shoal::test::may_trace;
using shoal::test::open_descriptors;
using shoal::test::pace;
using shoal::test::run_and_kill_after;
using shoal::test::stepped;

// An orphan must be gone within a second; the rest is for a busy machine.
constexpr std::chrono::seconds longest_life{8};

/// Makes this process the one to which all descendants fall whose parents end, so that none can get away unseen.
class reaper {
 public:
  reaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~reaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }
  reaper(const reaper&) = delete;
  reaper& operator=(const reaper&) = delete;

  /// Waits until there are no more than `left` descendants of the first generation, the reaped ones not counted.
  static bool all_gone() {
    const auto until = std::chrono::steady_clock::now() + longest_life;
    for (;;) {
      const pid_t ended = ::waitpid(-1, nullptr, WNOHANG);
      if (ended < 0) {
        return true;
      }
      if (ended == 0) {
        if (std::chrono::steady_clock::now() > until) {
          return false;
        }
        std::this_thread::sleep_for(200us);
      }
    }
  }
};

void nothing() {}

void pause_for_ever() {
  for (;;) {
    ::pause();
  }
}

void start(start_method method, bool daemon) {
  shoal::process child(process_options{.method = method, .daemon = daemon}, daemon ? pause_for_ever : nothing);
  if (daemon) {
    ::raise(SIGKILL);  // the last point: it has been started
  }
  (void)child.join();
}

/// Kills a starter at one point after the other, and sees that nothing of it is left.
void kill_starters(start_method method, bool daemon) {
  if (!may_trace()) {
    GTEST_SKIP() << "ptrace is not permitted here";
  }
  const reaper all;
  const auto descriptors = open_descriptors();
  const auto kill_after = [&](long steps, pace by) {
    const stepped run = run_and_kill_after([&] { start(method, daemon); }, steps, by);
    EXPECT_TRUE(reaper::all_gone()) << "killed after " << steps
                                    << (by == pace::instruction ? " instructions" : " stops at system calls");
    return run;
  };
  constexpr long to_the_end = std::numeric_limits<long>::max();
  const long calls = kill_after(to_the_end, pace::system_call).steps;
  int points = 0;
  for (long call = 0; call <= calls && !testing::Test::HasFailure(); ++call, ++points) {
    kill_after(call, pace::system_call);
  }
  const long instructions = kill_after(to_the_end, pace::instruction).steps;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::chrono::seconds time = shoal::test::chaos_is_long() ? 120s : 2s;
  for (const auto until = shoal::after(time); std::chrono::steady_clock::now() < until && !testing::Test::HasFailure();
       ++points) {
    kill_after(static_cast<long>(random() % static_cast<unsigned long>(instructions)), pace::instruction);
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  std::printf("%d kill points: %ld stops at system calls, some of %ld instructions\n", points, calls, instructions);
}

TEST(ProcessStartKill, NothingIsLeftOfAForkWhoseStarterIsKilled) { kill_starters(start_method::fork, false); }
TEST(ProcessStartKill, NothingIsLeftOfASpawnWhoseStarterIsKilled) { kill_starters(start_method::spawn, false); }
TEST(ProcessStartKill, NothingIsLeftOfAForkServersChildWhoseStarterIsKilled) {
  kill_starters(start_method::forkserver, false);
}
TEST(ProcessStartKill, NoDaemonOutlivesItsForkingStarter) { kill_starters(start_method::fork, true); }
TEST(ProcessStartKill, NoDaemonOutlivesItsSpawningStarter) { kill_starters(start_method::spawn, true); }
TEST(ProcessStartKill, NoDaemonOfAForkServerOutlivesItsStarter) { kill_starters(start_method::forkserver, true); }

}  // namespace
