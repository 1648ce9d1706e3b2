#pragma once

#include <gtest/gtest.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

#include "os/death_notice.hpp"
#include "os/error.hpp"
#include "os/event_fd.hpp"
#include "process_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"
#include "single_step.hpp"

namespace shoal::test {

/// An operation that a process dies of.
struct operation {
  queue_options options;
  std::function<void(queue_under_kill&)> prepare;
  std::function<queue_status(byte_queue&)> run;
  std::function<void(queue_under_kill&, bool completed)> settle;
  queue_status result = queue_status::ok;
};

/// A queue so small that memory which is lost is missed.
inline constexpr std::size_t one_megabyte = 1 << 20;

/// Idle memory of which a queue gives some back to the system.
inline constexpr std::int64_t more_than_is_kept = std::int64_t{64} << 20;

/// Has a process do something and end, without any clean-up.
template <class Function>
void run_and_die(Function function) {
  const pid_t id = os::check(::fork(), "starting a process");
  if (id == 0) {
    function();
    ::_exit(EXIT_SUCCESS);
  }
  ::waitpid(id, nullptr, 0);
}

/// From now on the system does not tell of the death of this process, which so ends faster.
inline void refuse_death_notices() {
  sock_filter refuse[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{.len = std::size(refuse), .filter = refuse};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/// Whether the system tells of the death of a process.
inline bool can_give_death_notice() {
  static const bool can = [] {
    const os::event_fd told;
    run_and_die([&] { (void)new os::death_notice(told.get()); });
    return is_readable(told.get());
  }();
  return can;
}

/// Kills a process in every instruction of an operation, and has others use the queue after each.
class every_instruction_test : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_single_step) {
      GTEST_SKIP() << why_no_single_step;
    }
  }

  /// @param coarse  of a short test: only each so manieth instruction.
  void test(const operation& tried, long coarse = 1) {
    path way;
    ASSERT_NO_FATAL_FAILURE(try_kill(tried, {.finds = &way}));
    way.find_landmarks();
    dead_owners_ = 0;
    int points = 0;
    const long all = instructions_;
    const long step = chaos_is_long() ? 1 : coarse;
    for (long at = 0; at < all && !HasFailure(); at += std::max(step, way.stride_at(at))) {
      ASSERT_NO_FATAL_FAILURE(try_kill(tried, {.instructions = at, .follows = &way}));
      ++points;
    }
    RecordProperty("kill_points", points);
    RecordProperty("dead_lock_owners", dead_owners_);
    std::printf("%d kill points in %ld instructions, %d left a dead lock owner\n", points, all, dead_owners_);
  }

  /// What a push of a text comes to.
  static operation pushing(std::size_t length, std::function<void(queue_under_kill&)> prepare,
                           queue_options options = {}) {
    const std::string text = sample(987'654'321, length);
    return {.options = std::move(options),
            .prepare = std::move(prepare),
            .run = [text](byte_queue& queue) { return queue.push(encoding::raw, bytes_of(text), no_waiting); },
            .settle = [text](queue_under_kill& at,
                             bool completed) { EXPECT_TRUE(at.settle_push(text) || !completed) << "lost"; }};
  }

  static operation popping(std::function<void(queue_under_kill&)> prepare, queue_options options = {}) {
    return {.options = std::move(options),
            .prepare = std::move(prepare),
            .run =
                [](byte_queue& queue) {
                  record got;
                  return queue.pop(got, no_waiting);
                },
            .settle = [](queue_under_kill& at,
                         bool completed) { EXPECT_TRUE(at.settle_pop() || !completed) << "not gone"; }};
  }

  /// Has a process die of an operation when a condition holds for the first time, at the same place at each call.
  template <class Run, class When>
  static void die_when(path& way, Run run, When when) {
    const bool first = way.length() == 0;
    const fate planned = first ? fate{.instructions = 1, .when = when, .finds = &way}
                               : fate{.instructions = way.length(), .follows = &way};
    stepped_process victim(run, planned);
    victim.join();
    ASSERT_FALSE(victim.completed());
    if (first) {
      way.find_landmarks();
    }
  }

 private:
  void try_kill(const operation& tried, const fate& planned) {
    queue_under_kill at(tried.options);
    ASSERT_NO_FATAL_FAILURE(tried.prepare(at));
    stepped_process victim([&] { return tried.run(at.queue) == tried.result; }, planned);
    const bool good = victim.join();
    instructions_ = victim.instructions();
    SCOPED_TRACE(victim.where());
    EXPECT_TRUE(good || !victim.completed()) << "the operation itself failed";
    dead_owners_ += at.internals.has_dead_owner() ? 1 : 0;

    at.expect_readable_unless_empty();
    tried.settle(at, victim.completed());
    ASSERT_NO_FATAL_FAILURE(at.drain());
    if (!at.queue.closed()) {
      at.go_on();
    }
  }

  long instructions_ = 0;  // of the last victim
  int dead_owners_ = 0;
};

}  // namespace shoal::test
