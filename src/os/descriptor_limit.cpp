#include "os/descriptor_limit.hpp"

#include <sys/resource.h>

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

}  // namespace shoal::os
