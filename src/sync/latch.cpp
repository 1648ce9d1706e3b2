#include "shoal/latch.hpp"

#include <stdexcept>
#include <string>

#include "sync/countdown.hpp"

namespace shoal {
namespace {

std::uint64_t checked(std::ptrdiff_t count) {
  if (count < 0) {
    throw std::invalid_argument("a latch was to count " + std::to_string(count) + ", which is below zero.");
  }
  return static_cast<std::uint64_t>(count);
}

}  // namespace

latch::latch(std::ptrdiff_t expected) : countdown_(std::make_unique<sync::countdown>(checked(expected))) {}
latch::latch(native_handle_type handle) : countdown_(std::make_unique<sync::countdown>(handle)) {}
latch::latch(latch&&) noexcept = default;
latch& latch::operator=(latch&&) noexcept = default;
latch::~latch() = default;

void latch::count_down(std::ptrdiff_t by) {
  if (!countdown_->count_down(checked(by))) {
    throw std::invalid_argument("a latch was to count down by " + std::to_string(by) +
                                ", which is more than is left: somebody has arrived too often.");
  }
}

bool latch::try_wait() const noexcept { return countdown_->is_zero(); }

void latch::wait() const {
  while (!wait_until(forever)) {
  }
}

bool latch::wait_until(deadline until) const {
  for (;;) {
    const sync::wait_result result = countdown_->wait_until(until);
    if (result != sync::wait_result::interrupted) {
      return result == sync::wait_result::done;
    }
  }
}

void latch::arrive_and_wait(std::ptrdiff_t by) {
  count_down(by);
  wait();
}

slot_location latch::native_handle() noexcept { return countdown_->location(); }

}  // namespace shoal
