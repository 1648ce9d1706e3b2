#include "process/crash_trace.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>

#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "shoal/process.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// They have handlers of their own, which are left alone.
#define SHOAL_SKIP_UNDER_SANITIZERS() GTEST_SKIP() << "a sanitizer describes crashes"
#else
#define SHOAL_SKIP_UNDER_SANITIZERS() static_cast<void>(0)
#endif

namespace {

using shoal::exit_status;
using shoal::process;
using shoal::trace_crashes;
using testing::HasSubstr;
using testing::IsEmpty;

struct end {
  exit_status status;
  std::string said;  // on standard error
};

/// How a child ends that runs this function.
end end_of(auto function) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe");
  }
  shoal::os::file_descriptor from(ends[0]);
  shoal::os::file_descriptor to(ends[1]);
  process child([&] {
    ::dup2(to.get(), STDERR_FILENO);
    function();
  });
  to.reset();
  std::string said;
  char some[4096];
  for (ssize_t size = 0; (size = ::read(from.get(), some, sizeof some)) > 0;) {
    said.append(some, static_cast<std::size_t>(size));
  }
  return {child.join(), said};
}

void crash_here() {
  volatile int* volatile nowhere = nullptr;
  *nowhere = 1;
}

std::atomic<int> deepest{1'000'000'000};

int recurse(int depth) {  // NOLINT(misc-no-recursion)
  volatile char space[4096];
  space[0] = static_cast<char>(depth);
  return depth < deepest ? recurse(depth + 1) + space[0] : 0;
}

TEST(CrashTrace, TellsWhichProcessCrashedByWhatSignalAndWhere) {
  SHOAL_SKIP_UNDER_SANITIZERS();
  const end seen = end_of([] {
    trace_crashes("parser");
    crash_here();
  });
  EXPECT_EQ(seen.status, exit_status::killed_by(SIGSEGV));
  EXPECT_THAT(seen.said, HasSubstr("shoal: process parser (pid "));
  EXPECT_THAT(seen.said, HasSubstr("is killed by SIGSEGV, touching 0x0. "));
  EXPECT_THAT(seen.said, HasSubstr("shoal_tests(+0x")) << "no backtrace";
}

TEST(CrashTrace, AnAbortIsTracedToo) {
  SHOAL_SKIP_UNDER_SANITIZERS();
  const end seen = end_of([] {
    trace_crashes("");
    std::abort();
  });
  EXPECT_EQ(seen.status, exit_status::killed_by(SIGABRT));
  EXPECT_THAT(seen.said, HasSubstr("is killed by SIGABRT. "));
}

TEST(CrashTrace, AStackThatOverflowedIsTraced) {
  SHOAL_SKIP_UNDER_SANITIZERS();
  const end seen = end_of([] {
    trace_crashes("deep");
    recurse(0);
  });
  EXPECT_EQ(seen.status, exit_status::killed_by(SIGSEGV));
  EXPECT_THAT(seen.said, HasSubstr("process deep (pid "));
}

TEST(CrashTrace, ASignalThatSomebodySentKillsAsWell) {
  SHOAL_SKIP_UNDER_SANITIZERS();
  const end seen = end_of([] {
    trace_crashes("");
    ::kill(::getpid(), SIGFPE);
    for (;;) {
      ::pause();
    }
  });
  EXPECT_EQ(seen.status, exit_status::killed_by(SIGFPE));
  EXPECT_THAT(seen.said, HasSubstr("is killed by SIGFPE. "));
}

TEST(CrashTrace, HandlersOfTheProgramAreLeftAlone) {
  const end seen = end_of([] {
    std::signal(SIGILL, [](int) { ::_exit(7); });
    std::signal(SIGFPE, SIG_IGN);
    trace_crashes("");
    ::kill(::getpid(), SIGFPE);
    ::raise(SIGILL);
  });
  EXPECT_EQ(seen.status, exit_status::exited_with(7));
  EXPECT_THAT(seen.said, IsEmpty());
}

TEST(CrashTrace, ALongNameIsCut) {
  SHOAL_SKIP_UNDER_SANITIZERS();
  const end seen = end_of([] {
    trace_crashes(std::string(1000, 'x'));
    crash_here();
  });
  EXPECT_EQ(seen.status, exit_status::killed_by(SIGSEGV));
  EXPECT_THAT(seen.said, HasSubstr("xxx (pid "));
}

}  // namespace
