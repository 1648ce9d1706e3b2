#include "shoal/detail/task_core.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <future>
#include <limits>

#include "os/error.hpp"
#include "os/file_descriptor.hpp"
#include "os/futex.hpp"
#include "shoal/task.hpp"

namespace shoal::detail {
namespace {

class no_continuation final : public continuation {
  void run() noexcept override {}
};
no_continuation none_more;  // stands for: it is too late to be called by set_ready()

void raise(int readiness) noexcept {
  const std::uint64_t one = 1;
  // It cannot fail: nobody else writes to it.
  [[maybe_unused]] const ssize_t written = ::write(readiness, &one, sizeof one);
}

}  // namespace

task_core::~task_core() {
  if (const int fd = readiness_; fd >= 0) {
    ::close(fd);
  }
}

bool task_core::wait_until(deadline until) const {
  if (ready()) {
    return true;
  }
  owner_->check_wait();
  for (;;) {
    std::uint32_t seen = is_pending;
    if (!word_.compare_exchange_strong(seen, is_awaited, std::memory_order_acquire) && seen == is_ready) {
      return true;
    }
    if (os::futex_wait(word_, is_awaited, until) == os::futex_result::timed_out) {
      return ready();
    }
  }
}

void task_core::set_ready() noexcept {
  if (word_.exchange(is_ready) == is_awaited) {
    os::futex_wake(word_, std::numeric_limits<int>::max());
  }
  if (const int fd = readiness_; fd >= 0) {
    raise(fd);
  }
  if (continuation* const next = next_.exchange(&none_more)) {
    next->run();
  }
}

void task_core::continue_with(continuation& next) noexcept {
  continuation* none = nullptr;
  if (ready() || !next_.compare_exchange_strong(none, &next)) {
    next.run();
  }
}

bool task_core::cancel() {
  if (source_ != nullptr) {
    return source_->cancel();
  }
  return !ready() && owner_->cancel(*this);
}

int task_core::native_handle() {
  int fd = readiness_;
  if (fd < 0) {
    os::file_descriptor made(os::check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "making a task pollable"));
    fd = made.get();
    readiness_ = made.release();
    if (ready()) {
      raise(fd);
    }
  }
  return fd;
}

void throw_no_task() { throw std::future_error(std::future_errc::no_state); }

}  // namespace shoal::detail
