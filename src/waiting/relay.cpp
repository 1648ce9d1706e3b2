#include "shoal/detail/relay.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include "os/error.hpp"
#include "os/event_fd.hpp"
#include "os/file_descriptor.hpp"

namespace shoal::detail {

relay::~relay() {
  for (const int fd : {epoll_, always_}) {
    if (fd >= 0) {
      ::close(fd);
    }
  }
}

int relay::native_handle() {
  if (!is_used()) {
    os::event_fd always;
    always.raise();
    os::file_descriptor epoll(
        os::new_descriptor("making results pollable", [] { return ::epoll_create1(EPOLL_CLOEXEC); }));
    always_ = always.release().release();
    epoll_ = epoll.release();
  }
  return epoll_;
}

void relay::follow(int followed) {
  if (!is_used() || followed == followed_) {
    return;
  }
  follow_nothing();
  epoll_event readable{.events = EPOLLIN, .data = {}};
  os::check(::epoll_ctl(epoll_, EPOLL_CTL_ADD, followed, &readable), "making results pollable");
  followed_ = followed;
}

void relay::follow_nothing() noexcept {
  if (followed_ >= 0) {
    (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, followed_, nullptr);
    followed_ = -1;
  }
}

}  // namespace shoal::detail
