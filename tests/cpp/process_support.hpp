#pragma once

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "os/file_descriptor.hpp"
#include "shoal/deadline.hpp"

#ifdef __SANITIZE_THREAD__
// It does not see into what is not compiled with it: the reference counts in libstdc++ by which threads share an
// exception, and copies of one its text, and pthread_mutex_clocklock.
extern "C" [[gnu::used]] inline const char* __tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "race:std::__exception_ptr::exception_ptr::_M_release\n"
         "race:std::runtime_error::~runtime_error\n"
         "mutex:shoal::sync::robust_mutex::unlock\n";
}
#endif

namespace shoal::test {

/// How long a test waits for what must happen before it fails.
inline constexpr std::chrono::seconds patience{20};

/// Waits until `condition()` holds. @return false if it does not within `patience`.
bool eventually(std::predicate auto condition) {
  const deadline until = after(patience);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// A T that processes forked later share with this one.
template <class T>
class shared {
 public:
  shared() {
    void* const address = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      throw std::bad_alloc();
    }
    value_ = new (address) T{};
  }
  shared(const shared&) = delete;
  shared& operator=(const shared&) = delete;
  ~shared() { ::munmap(value_, sizeof(T)); }

  T& operator*() const noexcept { return *value_; }
  T* operator->() const noexcept { return value_; }

 private:
  T* value_;
};

inline std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all)) - 1;  // but the one that lists them
}

/// All descriptors that this process may have but those that are open and `left` more, as long as the result exists.
/// For processes whose hard limit is low.
inline std::vector<os::file_descriptor> all_descriptors_but(std::size_t left) {
  std::vector<os::file_descriptor> taken;
  try {
    for (;;) {
      taken.push_back(os::file_descriptor::duplicate(0));
    }
  } catch (const std::system_error&) {
    taken.resize(taken.size() - left);
  }
  return taken;
}

/// Whether this process has a child, dead or alive, that nobody has waited for.
inline bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

inline bool is_readable(int fd) {
  pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, 0) == 1;
}

/// Whether the descriptor polls readable within `patience`.
inline bool becomes_readable(int fd) {
  pollfd awaited{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&awaited, 1, std::chrono::duration_cast<std::chrono::duration<int, std::milli>>(patience).count()) == 1;
}

}  // namespace shoal::test
