#include "process/crash_trace.hpp"

#include <execinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <span>

namespace shoal {
namespace {

constexpr std::array crashes{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
constexpr int most_frames = 64;

// Before the handler can run.
std::array<char, 64> process_name;
alignas(16) std::array<char, std::size_t{64} << 10> handler_stack;

/// A line that is put together without memory or locks, since the crash may have been in either.
class line {
 public:
  line& operator<<(std::string_view text) noexcept {
    const std::size_t size = std::min(text.size(), text_.size() - size_);
    std::memcpy(text_.data() + size_, text.data(), size);
    size_ += size;
    return *this;
  }

  line& number(std::uintptr_t value, int base) noexcept {
    const std::to_chars_result end = std::to_chars(text_.data() + size_, text_.data() + text_.size(), value, base);
    if (end.ec == std::errc()) {
      size_ = static_cast<std::size_t>(end.ptr - text_.data());
    }
    return *this;
  }

  void write() const noexcept {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text_.data(), size_);  // nobody else to tell
  }

 private:
  std::array<char, 256> text_;
  std::size_t size_ = 0;
};

extern "C" void shoal_on_crash(int signal, siginfo_t* info, void* /*context*/) {
  const int error = errno;
  const char* const name = ::sigabbrev_np(signal);
  line first;
  first << "shoal: process ";
  if (process_name[0] != '\0') {
    first << process_name.data() << " (pid ";
    first.number(static_cast<std::uintptr_t>(::getpid()), 10) << ")";
  } else {
    first.number(static_cast<std::uintptr_t>(::getpid()), 10);
  }
  first << " is killed by SIG" << (name != nullptr ? name : "?");
  const bool faulted = info->si_code > 0;       // by what this thread did; otherwise somebody sent the signal
  if (faulted && info->si_code != SI_KERNEL) {  // which comes without an address
    (first << (signal == SIGSEGV || signal == SIGBUS ? ", touching 0x" : ", at 0x"))
        .number(reinterpret_cast<std::uintptr_t>(info->si_addr), 16);
  }
  first << ". It was here, innermost first (addr2line -Cfie FILE +OFFSET tells the lines):\n";
  first.write();

  std::array<void*, most_frames> frames;
  const int count = ::backtrace(frames.data(), most_frames);
  constexpr int own = 1;  // this function
  ::backtrace_symbols_fd(frames.data() + own, std::max(count - own, 0), STDERR_FILENO);

  // The disposition is the default one again, and the signal not blocked. What faulted does so again, so that a core
  // file shows the place itself.
  if (!faulted) {
    ::raise(signal);
  }
  errno = error;
}

}  // namespace

void prepare_crash_traces() noexcept {
  static const int loaded = [] {
    std::array<void*, 1> frame;
    return ::backtrace(frame.data(), static_cast<int>(frame.size()));
  }();
  static_cast<void>(loaded);
}

void trace_crashes(std::string_view name) noexcept {
  prepare_crash_traces();
  const std::size_t size = std::min(name.size(), process_name.size() - 1);
  std::memcpy(process_name.data(), name.data(), size);
  process_name[size] = '\0';

  stack_t present{};
  if (::sigaltstack(nullptr, &present) == 0 && (present.ss_flags & SS_DISABLE) != 0) {
    const stack_t own{.ss_sp = handler_stack.data(), .ss_flags = 0, .ss_size = handler_stack.size()};
    ::sigaltstack(&own, nullptr);
  }
  struct sigaction action {};
  action.sa_sigaction = shoal_on_crash;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
  for (const int signal : crashes) {
    struct sigaction present_action {};
    if (::sigaction(signal, nullptr, &present_action) == 0 && present_action.sa_handler == SIG_DFL) {
      ::sigaction(signal, &action, nullptr);
    }
  }
}

}  // namespace shoal
