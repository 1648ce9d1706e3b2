#include "os/shared_event_fd.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <mutex>
#include <unordered_set>

#include "os/descriptor_limit.hpp"

namespace shoal::os {

/// Those that have not been made yet.
class shared_event_fd::registry {
 public:
  static registry& instance() {
    static auto* const only = new registry();
    return *only;
  }

  std::mutex mutex;
  std::unordered_set<shared_event_fd*> missing;

 private:
  registry() {
    ::pthread_atfork(
        [] {
          instance().mutex.lock();
          for (shared_event_fd* const one : instance().missing) {
            one->make_before_fork();
          }
          instance().missing.clear();
        },
        [] { instance().mutex.unlock(); }, [] { instance().mutex.unlock(); });
  }
};

// Before anybody can fork while it is being made.
const shared_event_fd::registry& shared_event_fd::made_early = registry::instance();

shared_event_fd::shared_event_fd(int flags) : flags_(flags) {
  registry& all = registry::instance();
  const std::scoped_lock lock(all.mutex);
  all.missing.insert(this);
}

shared_event_fd::shared_event_fd(event_fd made) : number_(made.release().release()) {}

shared_event_fd::~shared_event_fd() {
  if (number_.load(std::memory_order_relaxed) == not_made) {
    registry& all = registry::instance();
    const std::scoped_lock lock(all.mutex);  // a fork of another thread may be about to make it
    all.missing.erase(this);
  }
  if (const int known = number_.load(std::memory_order_relaxed); known >= 0) {
    ::close(known);
  }
}

int shared_event_fd::new_eventfd() const noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | flags_); }

// Leaves a quarter of all descriptors to the program.
void shared_event_fd::make_before_fork() noexcept {
  const auto is_too_high = [](int number) {
    rlimit limit{};
    return number < 0 || (::getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
                          static_cast<rlim_t>(number) >= limit.rlim_cur - limit.rlim_cur / 4);
  };
  file_descriptor made(new_eventfd());
  if (is_too_high(made.get())) {
    raise_descriptor_limit();
    if (!made) {
      made.reset(new_eventfd());
    }
  }
  number_.store(is_too_high(made.get()) ? too_late : made.release(), std::memory_order_release);
}

int shared_event_fd::get_if_possible() {
  if (const int number = number_.load(std::memory_order_acquire); number >= 0) {
    return number;
  }
  registry& all = registry::instance();
  const std::scoped_lock lock(all.mutex);
  if (number_.load(std::memory_order_relaxed) == not_made) {
    number_.store(new_descriptor("creating an eventfd", [this] { return new_eventfd(); }), std::memory_order_release);
    all.missing.erase(this);
  }
  const int number = number_.load(std::memory_order_relaxed);
  return number == too_late ? -1 : number;
}

int shared_event_fd::get() {
  const int number = get_if_possible();
  if (number < 0) {
    throw_errno(
        "asking for the descriptor of an object that was made before this process, or its parent, forked while it had "
        "few "
        "descriptors left. Raise the limit (ulimit -n), or ask before the fork",
        EMFILE);
  }
  return number;
}

void shared_event_fd::raise(std::uint64_t times) const noexcept {
  if (const int number = number_.load(std::memory_order_acquire); number >= 0) {
    event_fd::raise(number, times);
  }
}

std::uint64_t shared_event_fd::lower() const noexcept {
  const int number = number_.load(std::memory_order_acquire);
  return number >= 0 ? event_fd::lower(number) : 0;
}

bool shared_event_fd::is_raised() const noexcept {
  pollfd polled{.fd = number_.load(std::memory_order_acquire), .events = POLLIN, .revents = 0};
  return polled.fd >= 0 && ::poll(&polled, 1, 0) == 1;
}

}  // namespace shoal::os
