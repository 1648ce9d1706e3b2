#include "os/descriptor_limit.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "os/error.hpp"

namespace shoal::os {

void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

void throw_no_descriptor(const char* attempt) {
  const int code = errno;
  rlimit limit{};
  if (code != EMFILE || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    throw_errno(attempt, code);
  }
  // EMFILE means that each number below the limit is taken, so nothing needs to be counted.
  throw_errno(std::string(attempt) + ": all " + std::to_string(limit.rlim_cur) +
                  " descriptors that this process may have (RLIMIT_NOFILE) are open, and the limit cannot be raised "
                  "from within. Keep fewer queues, or start it with a higher hard limit (ulimit -Hn; LimitNOFILE= in "
                  "systemd)",
              code);
}

int above_standard_streams(int fd, const char* attempt) {
  if (fd > STDERR_FILENO) {
    return fd;
  }
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int code = errno;
  ::close(fd);
  if (moved < 0) {
    errno = code;
    throw_no_descriptor(attempt);
  }
  return moved;
}

}  // namespace shoal::os
