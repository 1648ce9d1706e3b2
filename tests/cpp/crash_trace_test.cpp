// What a process says when it crashes.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>

#include "shoal/process.hpp"
#include "start_method_support.hpp"

namespace {

using shoal::exit_status;
using shoal::process;
using shoal::process_options;
using testing::HasSubstr;
using testing::StartsWith;

class CrashTrace : public shoal::test::by_each_method {
 protected:
  struct crash {
    exit_status status;
    std::string text;  // on stderr
    pid_t id;
  };

  static crash crash_of(void (*function)()) {
    process_options options = by_method();
    options.name = "crasher";
    testing::internal::CaptureStderr();
    process child(options, function);
    const pid_t id = child.id();
    const exit_status status = join_soon(child);
    return {status, testing::internal::GetCapturedStderr(), id};
  }
};

INSTANTIATE_BY_EACH_METHOD(CrashTrace);

void no_core_dump() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

TEST_P(CrashTrace, NamesSignalProcessAndFunctions) {
  const crash aborted = crash_of([] {
    no_core_dump();
    std::abort();
  });
  EXPECT_EQ(aborted.status, exit_status::killed_by(SIGABRT));
  EXPECT_THAT(aborted.text,
              StartsWith("shoal: process " + std::to_string(aborted.id) + " (crasher) is killed by SIGABRT in\n"));
  EXPECT_THAT(aborted.text, HasSubstr("abort"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they tell of these by themselves

TEST_P(CrashTrace, IsOfAFault) {
  const crash faulted = crash_of([] {
    no_core_dump();
    volatile int* volatile nowhere = nullptr;
    *nowhere = 1;
  });
  EXPECT_EQ(faulted.status, exit_status::killed_by(SIGSEGV));
  EXPECT_THAT(faulted.text, HasSubstr("is killed by SIGSEGV"));
}

int fill_stack(int depth) {  // NOLINT(misc-no-recursion)
  std::array<volatile char, 4096> some{};
  some[0] = static_cast<char>(depth);
  return depth < 1'000'000 ? fill_stack(depth + 1) + some[0] : 0;
}

TEST_P(CrashTrace, IsOfAStackThatIsFull) {
  const crash overflown = crash_of([] {
    no_core_dump();
    (void)fill_stack(0);
  });
  EXPECT_EQ(overflown.status, exit_status::killed_by(SIGSEGV));
  EXPECT_THAT(overflown.text, HasSubstr("is killed by SIGSEGV"));
}

#endif

TEST_P(CrashTrace, IsOfASignalThatWasSent) {
  const crash sent = crash_of([] {
    no_core_dump();
    ::kill(::getpid(), SIGFPE);
  });
  EXPECT_EQ(sent.status, exit_status::killed_by(SIGFPE));
}

TEST_P(CrashTrace, IsNotOfASignalThatTheProcessHandles) {
  const crash handled = crash_of([] {
    ::signal(SIGABRT, [](int) { ::_exit(9); });
    ::raise(SIGABRT);
  });
  EXPECT_EQ(handled.status, exit_status::exited_with(9));
  EXPECT_EQ(handled.text, "");
}

}  // namespace
