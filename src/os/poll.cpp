#include "os/poll.hpp"

#include <ctime>

#include "os/error.hpp"

namespace shoal::os {
namespace {

timespec time_left(deadline until) {
  using std::chrono::nanoseconds;
  const auto now = std::chrono::steady_clock::now();
  const nanoseconds left = until <= now ? nanoseconds(0) : nanoseconds(until - now);
  return {.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000),
          .tv_nsec = static_cast<long>(left.count() % 1'000'000'000)};
}

}  // namespace

poll_result poll_until(std::span<pollfd> awaited, deadline until) {
  timespec limit{};
  if (until != forever) {
    limit = time_left(until);
  }
  const int count = ::ppoll(awaited.data(), awaited.size(), until == forever ? nullptr : &limit, nullptr);
  if (count < 0 && errno != EINTR) {
    throw_errno("waiting for " + std::to_string(awaited.size()) + " descriptors");
  }
  return count > 0 ? poll_result::ready : count == 0 ? poll_result::timed_out : poll_result::interrupted;
}

}  // namespace shoal::os
