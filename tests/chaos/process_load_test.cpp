// Many processes: one after the other, all at once, and where no more may be had.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "process_support.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/event.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::exit_status;
using shoal::process;
using shoal::process_options;
using shoal::start_method;
using shoal::test::all_descriptors_but;
using shoal::test::has_children;
using shoal::test::open_descriptors;
using shoal::test::patience;

void nothing() {}

/// The descriptors that a shell gives a program by default, unless it has fewer.
class default_descriptor_limit {
 public:
  default_descriptor_limit() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    constexpr rlim_t by_default = 1024;
    const rlimit lower{std::min(by_default, before_.rlim_cur), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &lower);
  }
  default_descriptor_limit(const default_descriptor_limit&) = delete;
  default_descriptor_limit& operator=(const default_descriptor_limit&) = delete;
  ~default_descriptor_limit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

/// Whether a child has ended that nobody has waited for. The fork server is a child, too, and runs on.
bool has_zombies() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

class ProcessLoad : public testing::TestWithParam<start_method> {
 protected:
  static exit_status run(void (*function)()) {
    process child(process_options{.method = GetParam()}, function);
    return child.join();
  }

  void SetUp() override { run(nothing); }  // what all later ones share, such as the fork server, is there then
};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessLoad,
                         testing::Values(start_method::fork, start_method::spawn, start_method::forkserver));

TEST_P(ProcessLoad, ThousandsInARowLeaveNothingBehind) {
  const std::ptrdiff_t before = open_descriptors();
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(run(nothing).success()) << "after " << i;
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_FALSE(has_zombies());
}

/// Processes that all run before any of them ends.
void run_at_once(int many, start_method method) {
  shoal::counting_semaphore running(0);
  shoal::event may_end;
  std::vector<process> children;
  for (int i = 0; i < many; ++i) {
    children.emplace_back(
        process_options{.method = method, .daemon = true},
        [](shoal::counting_semaphore& begun, shoal::event& end) {
          begun.release();
          end.wait();
        },
        std::ref(running), std::ref(may_end));
  }
  for (int i = 0; i < many; ++i) {
    EXPECT_TRUE(running.try_acquire_for(patience));
  }
  may_end.set();
  for (process& child : children) {
    EXPECT_TRUE(child.join().success());
  }
}

TEST_P(ProcessLoad, HundredsRunAtOnceWithinTheLimitsOfAShell) {
  const default_descriptor_limit limit;
  run_at_once(1, GetParam());
  const std::ptrdiff_t before = open_descriptors();
  run_at_once(500, GetParam());
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_FALSE(has_zombies());
}

TEST_P(ProcessLoad, WithoutDescriptorsNothingStartsAndNothingIsLeft) {
  // In a process of its own, whose limit can be lowered for good.
  process victim([method = GetParam()] {
    static_cast<void>(process(process_options{.method = method}, nothing).join());
    const std::ptrdiff_t before = open_descriptors();
    const rlimit few{static_cast<rlim_t>(before + 20), static_cast<rlim_t>(before + 20)};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) {
      return 1;
    }
    int refused = 0;
    int started = 0;
    for (std::size_t left = 0; left < 8; ++left) {
      const auto taken = all_descriptors_but(left);
      try {
        process child(process_options{.method = method}, nothing);
        static_cast<void>(child.join());
        ++started;
      } catch (const std::system_error& refusal) {
        if (refusal.code() != std::errc::too_many_files_open) {
          std::fprintf(stderr, "%s\n", refusal.what());
          return 2;
        }
        ++refused;
      }
    }
    if (refused == 0 || started == 0) {
      std::fprintf(stderr, "%d refused, %d started\n", refused, started);
      return 3;
    }
    return open_descriptors() == before ? 0 : 4;
  });
  EXPECT_EQ(victim.join(), exit_status::exited_with(0));
}

TEST_P(ProcessLoad, WithoutProcessesNothingStartsAndNothingIsLeft) {
  if (GetParam() == start_method::forkserver) {
    GTEST_SKIP() << "it is the server whom a limit is for";
  }
  process victim([method = GetParam()] {
    const rlimit none{0, 0};
    // The limit does not hold for root.
    if (::setrlimit(RLIMIT_NPROC, &none) != 0 || (::getuid() == 0 && ::setuid(65534) != 0)) {
      return 1;
    }
    try {
      process child(process_options{.method = method}, nothing);
      static_cast<void>(child.join());
      return 2;
    } catch (const std::system_error& refusal) {
      if (refusal.code() != std::errc::resource_unavailable_try_again) {
        std::fprintf(stderr, "%s\n", refusal.what());
        return 3;
      }
    }
    return has_children() ? 4 : 0;
  });
  EXPECT_EQ(victim.join(), exit_status::exited_with(0));
}

}  // namespace
