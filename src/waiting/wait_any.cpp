#include "shoal/wait_any.hpp"

#include <string>

#include "os/error.hpp"
#include "os/poll.hpp"

namespace shoal::detail {
namespace {

void check_open(const pollfd& polled, std::size_t place) {
  if ((polled.revents & POLLNVAL) != 0) {
    os::throw_errno("waiting for descriptor " + std::to_string(polled.fd) + ", of object " + std::to_string(place) +
                        " of those given, counted from 0",
                    EBADF);
  }
}

}  // namespace

std::vector<std::size_t> wait_any_before(std::span<const waitable> objects, deadline until) {
  std::vector<pollfd> awaited;
  awaited.reserve(objects.size());
  for (const waitable& object : objects) {
    awaited.push_back({.fd = object.descriptor(), .events = object.events(), .revents = 0});
  }
  std::vector<std::size_t> ready;
  for (;;) {
    const os::poll_result result = os::poll_until(awaited, until);
    if (result == os::poll_result::timed_out) {
      return ready;
    }
    for (std::size_t place = 0; result == os::poll_result::ready && place < awaited.size(); ++place) {
      if (awaited[place].revents != 0) {
        check_open(awaited[place], place);
        if (objects[place].confirmed()) {
          ready.push_back(place);
        }
      }
    }
    if (!ready.empty()) {
      return ready;
    }
  }
}

}  // namespace shoal::detail
