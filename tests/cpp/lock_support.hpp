#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "memory/arena.hpp"
#include "os/error.hpp"
#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/owner_died.hpp"
#include "shoal/process.hpp"
#include "sync/thread_record.hpp"

// What tests of locks have in common: children that hold, wait and die.
namespace shoal::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_thread_sanitizer = true;
#else
inline constexpr bool under_thread_sanitizer = false;
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool instrumented = true;
#else
inline constexpr bool instrumented = false;
#endif

/// The code of the std::system_error that `call` throws; none if it throws nothing.
template <class Call>
std::error_code code_of(Call call) {
  try {
    call();
  } catch (const std::system_error& thrown) {
    return thrown.code();
  }
  return {};
}

/// Who was said to have died when `call` locked; process 0 if nobody was.
template <class Call>
lock_holder dead_told_by(Call call) {
  try {
    call();
  } catch (const owner_died& thrown) {
    return thrown.dead();
  }
  return {};
}

/// Waits, but not for ever, until a child has ended. @return whether all went well there.
inline bool succeeds(process& child) {
  const auto status = child.join_for(patience);
  if (!status) {
    child.kill();
    (void)child.join();
    return false;
  }
  return status->success();
}

/// Whether `call` returns true in a child.
template <class Call>
bool in_child(Call call) {
  process child([&] { return call() ? 0 : 1; });
  return succeeds(child);
}

/// Lets a child lock, and kills it before it has unlocked. @return its id.
template <class Lock>
pid_t die_with(Lock& lock) {
  process victim([&] {
    lock.lock();
    ::raise(SIGKILL);
  });
  const pid_t id = victim.id();
  (void)victim.join();
  return id;
}

/// A child that holds something from here on until it is told to let go, or is killed.
class holder {
 public:
  template <class Hold, class Release>
  holder(Hold hold, Release release)
      : child_([=, this] {
          hold();
          stage_->store(holding);
          const bool told = eventually([this] { return stage_->load() == leaving; });
          release();
          return told ? 0 : 1;
        }) {
    holds_ = eventually([this] { return stage_->load() == holding; });
  }
  template <class Lock>
  explicit holder(Lock& lock) : holder([&lock] { lock.lock(); }, [&lock] { lock.unlock(); }) {}
  holder(const holder&) = delete;
  holder& operator=(const holder&) = delete;
  ~holder() { kill(); }

  [[nodiscard]] pid_t id() const { return child_.id(); }
  [[nodiscard]] bool holds() const { return holds_; }

  void tell() { stage_->store(leaving); }
  bool let_go() {
    tell();
    return succeeds(child_);
  }
  void kill() {
    if (child_.joinable()) {
      child_.kill();
      (void)child_.join();
    }
  }

 private:
  static constexpr int holding = 1;
  static constexpr int leaving = 2;

  shared<std::atomic<int>> stage_;
  bool holds_ = false;
  process child_;
};

/// What a thread does, or the main thread of a process: R runs, S sleeps, T is stopped, Z has ended, X is not there.
inline char state_of(pid_t thread) {
  std::ifstream stat("/proc/" + std::to_string(thread) + "/stat");
  std::string line;
  std::getline(stat, line);
  const std::size_t name_end = line.rfind(')');
  return name_end == std::string::npos ? 'X' : line[name_end + 2];
}

inline bool is_asleep(pid_t thread) { return state_of(thread) == 'S'; }

/// The slot of something that has a native_handle(); slots are not used again after that.
template <class Object>
memory::arena_slot slot_of(Object& object, memory::slot_kind kind) {
  return memory::arena_slot::attach(object.native_handle(), kind);
}

/// How many living threads are asleep while they wait for a lock.
inline int sleepers_at(const memory::arena_slot& slot) {
  const sync::thread_table threads(slot.home());
  int sleepers = 0;
  for (std::uint32_t index = 0; index < threads.used(); ++index) {
    sync::thread_record& record = threads.at(index);
    sleepers += record.waits_for.load() == slot.index() + 1 && sync::thread_table::is_alive(record) &&
                        is_asleep(record.thread.load())
                    ? 1
                    : 0;
  }
  return sleepers;
}

/// Waits until so many threads sleep before a lock.
inline bool sleep_at(const memory::arena_slot& slot, int count) {
  return eventually([&] { return sleepers_at(slot) == count; });
}

/// The same file, as a process that did not inherit it would have it.
inline os::file_descriptor opened_anew(pid_t process, int descriptor) {
  const std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor);
  return os::file_descriptor(
      os::check(::open(path.c_str(), O_RDWR | O_CLOEXEC), "opening a descriptor of another process"));
}

/// Whether the kernel can let a thread sleep on two words.
inline bool has_futex_waitv() {
#ifdef SYS_futex_waitv
  return ::syscall(SYS_futex_waitv, nullptr, 0U, 0U, nullptr, 0) >= 0 || (errno != ENOSYS && errno != EPERM);
#else
  return false;
#endif
}

}  // namespace shoal::test
