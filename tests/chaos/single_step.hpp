#pragma once

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "os/error.hpp"
#include "process_support.hpp"

// Runs a function in a child that counts its instructions and kills itself after a given number of them.
//
// The child traces itself: with the processor's trap flag set, each instruction ends in a SIGTRAP, whose handler
// counts. That needs no permission and no switches between processes as ptrace does. Still, on a virtual machine each
// trap costs some 10 us, so the way is stepped through once and remembered; after that a child runs freely to a
// breakpoint shortly before its end.
namespace shoal::test {

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
inline constexpr bool can_single_step = true;
#else
inline constexpr bool can_single_step = false;
#endif
inline constexpr const char* why_no_single_step =
    "only x86-64 lets a process step through itself, and instrumented code has too many instructions";

inline bool chaos_is_long() {
  const char* const mode = std::getenv("SHOAL_CHAOS");
  return mode != nullptr && std::string_view(mode) == "long";
}

/// The instructions of one run of a function, by address, for later runs to take short cuts by.
class path {
 public:
  /// In the child that finds the way.
  void add(std::uintptr_t address) noexcept {
    const long at = length_->load(std::memory_order_relaxed);
    if (at < longest) {
      (*steps_)[static_cast<std::size_t>(at)] = address;
      length_->store(at + 1, std::memory_order_relaxed);
    }
  }

  /// In the parent, after that.
  void find_landmarks() {
    std::unordered_set<std::uintptr_t> passed;
    long landmark = 0;
    landmarks_.assign(1, 0);
    for (long i = 0; i < *length_; ++i) {
      landmark = passed.insert((*steps_)[static_cast<std::size_t>(i)]).second ? i + 1 : landmark;
      landmarks_.push_back(landmark);
    }
  }

  [[nodiscard]] long length() const { return *length_; }

  /// The most instructions, up to `instructions`, after which the next has an address that was not met before.
  [[nodiscard]] long landmark(long instructions) const {
    return landmarks_.empty() ? 0 : landmarks_[std::min(static_cast<std::size_t>(instructions), landmarks_.size() - 1)];
  }

  /// How far to go for the next interesting place: in a loop that turns and turns, to a later turn, unless the test is
  /// long.
  [[nodiscard]] long stride_at(long instructions) const {
    constexpr long some_turns = 48;
    constexpr long stride = 61;
    if (chaos_is_long() || instructions - landmark(instructions) < some_turns) {
      return 1;
    }
    long next = instructions + 1;
    while (next < instructions + stride && landmark(next) == landmark(instructions)) {
      ++next;
    }
    return next - instructions;
  }

  /// That of the instruction which comes after so many.
  [[nodiscard]] std::uintptr_t address_after(long instructions) const {
    return (*steps_)[static_cast<std::size_t>(instructions - 1)];
  }

 private:
  static constexpr long longest = 100'000;
  using addresses = std::array<std::uintptr_t, longest>;

  shared<addresses> steps_;
  shared<std::atomic<long>> length_;
  std::vector<long> landmarks_;
};

/// What is to happen to the child, and when.
struct fate {
  long instructions = std::numeric_limits<long>::max();  ///< after so many
  int signal = SIGKILL;                   ///< it sends this to itself, and runs on unobserved if it survives
  std::function<bool()> when = nullptr;   ///< if there is one, only those are counted before which it is true
  path* finds = nullptr;                  ///< where it is to leave its way
  const path* follows = nullptr;          ///< the way it will most likely take
  std::function<void()> first = nullptr;  ///< what it does before, unobserved
};

/// How far the child got.
struct progress {
  std::atomic<long> instructions;
  std::atomic<std::uintptr_t> address;  ///< of the instruction that comes next
  std::atomic<bool> completed;          ///< the function has returned
};

namespace detail {

inline fate own_fate;
inline progress* own_progress;

#if defined(__x86_64__)
inline constexpr std::uint64_t trap_flag = 0x100;

// A trap comes after each turn of a string instruction. Takes many turns at once, so that copying a record is some
// instructions and not one for each of its bytes; but not all, since one may be killed half-way.
inline void hurry_through_copy(gregset_t& registers) {
  const auto* const code = reinterpret_cast<const unsigned char*>(registers[REG_RIP]);
  constexpr long long few = 64;
  if (code[0] == 0xf3 && code[1] == 0xa4 && registers[REG_RCX] > few) {  // rep movsb
    const long long turns = registers[REG_RCX] / 2;
    std::memcpy(reinterpret_cast<void*>(registers[REG_RDI]), reinterpret_cast<const void*>(registers[REG_RSI]),
                static_cast<std::size_t>(turns));
    registers[REG_RDI] += turns;
    registers[REG_RSI] += turns;
    registers[REG_RCX] -= turns;
  }
}

inline unsigned char* breakpoint;
inline unsigned char under_breakpoint;
inline constexpr unsigned char trap_instruction = 0xcc;  // int3

/// Lets the child run to the landmark before its fate at full speed. @return false if it must step there.
inline bool set_breakpoint() {
  const long landmark = own_fate.follows == nullptr ? 0 : own_fate.follows->landmark(own_fate.instructions);
  if (landmark == 0) {
    return false;
  }
  constexpr std::uintptr_t page = 4096;
  const std::uintptr_t address = own_fate.follows->address_after(landmark);
  if (::mprotect(reinterpret_cast<void*>(address / page * page), page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
    return false;
  }
  own_progress->instructions = landmark - 1;
  breakpoint = reinterpret_cast<unsigned char*>(address);
  under_breakpoint = std::exchange(*breakpoint, trap_instruction);
  return true;
}

inline void on_trap(int /*signal*/, siginfo_t* /*info*/, void* context) {
  gregset_t& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (breakpoint != nullptr) {
    *std::exchange(breakpoint, nullptr) = under_breakpoint;
    registers[REG_RIP] -= sizeof trap_instruction;
    registers[REG_EFL] |= trap_flag;
  }
  const auto address = static_cast<std::uintptr_t>(registers[REG_RIP]);
  if (own_fate.finds != nullptr) {
    own_fate.finds->add(address);
  }
  hurry_through_copy(registers);
  if (own_fate.when && !own_fate.when()) {
    return;
  }
  const long count = own_progress->instructions.load(std::memory_order_relaxed) + 1;
  own_progress->instructions.store(count, std::memory_order_relaxed);
  own_progress->address.store(address, std::memory_order_relaxed);
  if (count >= own_fate.instructions) {
    registers[REG_EFL] &= ~static_cast<greg_t>(trap_flag);
    ::kill(::getpid(), own_fate.signal);
  }
}

template <class Function>
void step_through(Function function) {
  struct sigaction action {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGTRAP, &action, nullptr);
  if (set_breakpoint()) {
    function();
  } else {
    __writeeflags(__readeflags() | trap_flag);
    function();
  }
  __writeeflags(__readeflags() & ~trap_flag);
}
#else
template <class Function>
void step_through(Function function) {
  function();
}
#endif

}  // namespace detail

/// A child that steps through `function`, which returns whether all was well, towards its fate.
class stepped_process {
 public:
  template <class Function>
  stepped_process(Function function, const fate& planned) {
    // glibc's fork, never a raw clone: robust locks rely on the thread id that it renews.
    id_ = os::check(::fork(), "starting a process");
    if (id_ == 0) {
      detail::own_fate = planned;
      detail::own_progress = &*progress_;
      if (planned.first) {
        planned.first();
      }
      if (planned.instructions == 0) {
        ::kill(::getpid(), planned.signal);
      }
      bool good = false;
      detail::step_through([&] { good = function(); });
      progress_->completed = true;
      ::_exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
    }
  }
  stepped_process(const stepped_process&) = delete;
  stepped_process& operator=(const stepped_process&) = delete;
  ~stepped_process() {
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      (void)wait(0);
    }
  }

  /// Waits until it has ended. @return whether it completed and all was well.
  bool join() {
    const int status = wait(0);
    id_ = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
  }

  /// Waits until it has stopped itself. @return false if it has ended instead.
  bool wait_until_stopped() {
    const int status = wait(WUNTRACED);
    if (!WIFSTOPPED(status)) {
      id_ = 0;
    }
    return WIFSTOPPED(status);
  }

  void send_signal(int signal) const { ::kill(id_, signal); }

  [[nodiscard]] pid_t id() const { return id_; }
  [[nodiscard]] bool completed() const { return progress_->completed; }
  [[nodiscard]] long instructions() const { return progress_->instructions; }

  /// Where it was when its fate came, in words for whoever looks for the reason.
  [[nodiscard]] std::string where() const {
    std::ostringstream text;
    text << "after " << instructions() << " instructions";
    const std::uintptr_t address = progress_->address;
    Dl_info info{};
    if (address != 0 && ::dladdr(reinterpret_cast<const void*>(address), &info) != 0) {
      text << ", before that at: addr2line -Cfie " << info.dli_fname << " 0x" << std::hex
           << address - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    }
    return text.str();
  }

 private:
  int wait(int options) const {
    int status = 0;
    while (::waitpid(id_, &status, options) < 0 && errno == EINTR) {
    }
    return status;
  }

  shared<progress> progress_;  // before the fork
  pid_t id_ = 0;
};

}  // namespace shoal::test
