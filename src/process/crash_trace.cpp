#include "process/crash_trace.hpp"

#include <execinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstring>

namespace shoal {
namespace {

constexpr std::array crashes{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

char name_of_process[64];                // zero-terminated
alignas(64) char spare_stack[64 << 10];  // a crash may be for want of stack
volatile sig_atomic_t is_tracing = 0;

void say(std::string_view text) noexcept { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

// Runs at any point of a program in any state: nothing here allocates, or uses a stream.
void trace(int signal) noexcept {
  std::array<char, 128> line{};
  char* at = line.data();
  const auto append = [&](std::string_view text) { at = std::ranges::copy(text, at).out; };
  append("shoal: process ");
  at = std::to_chars(at, line.end(), ::getpid()).ptr;
  if (name_of_process[0] != '\0') {
    append(" (");
    append(name_of_process);
    append(")");
  }
  append(" is killed by SIG");
  append(::sigabbrev_np(signal));
  append(" in\n");
  say({line.data(), at});
  std::array<void*, 64> calls{};
  const int count = ::backtrace(calls.data(), calls.size());
  ::backtrace_symbols_fd(calls.data(), count, STDERR_FILENO);
}

extern "C" void shoal_on_crash(int signal, siginfo_t* information, void* /*context*/) {
  if (is_tracing == 0) {  // a crash here is not worth another trace
    is_tracing = 1;
    trace(signal);
    is_tracing = 0;
  }
  // The disposition is the default one again. An instruction that has failed fails again; a signal that was sent is
  // sent again.
  if (information->si_code <= 0) {
    ::raise(signal);
  }
}

}  // namespace

void prepare_crash_traces() noexcept {
  static std::atomic<bool> prepared{false};
  if (!prepared.exchange(true)) {
    std::array<void*, 1> calls{};
    ::backtrace(calls.data(), calls.size());  // the first one loads a library
  }
}

void trace_crashes(std::string_view name) noexcept {
  name = name.substr(0, sizeof name_of_process - 1);
  std::memcpy(name_of_process, name.data(), name.size());
  name_of_process[name.size()] = '\0';
  // Set first and put back where there was something: a fork should not cost a second system call for each.
  const stack_t spare{.ss_sp = spare_stack, .ss_flags = 0, .ss_size = sizeof spare_stack};
  stack_t former_stack{};
  if (::sigaltstack(&spare, &former_stack) == 0 && (former_stack.ss_flags & SS_DISABLE) == 0) {
    ::sigaltstack(&former_stack, nullptr);
  }
  struct sigaction action {};
  action.sa_sigaction = shoal_on_crash;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
  for (const int signal : crashes) {
    struct sigaction former {};
    const bool is_set = ::sigaction(signal, &action, &former) == 0;
    if (is_set && ((former.sa_flags & SA_SIGINFO) != 0 || former.sa_handler != SIG_DFL)) {
      ::sigaction(signal, &former, nullptr);
    }
  }
}

}  // namespace shoal
