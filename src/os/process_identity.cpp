#include "os/process_identity.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "os/file_descriptor.hpp"

namespace shoal::os {

std::uint64_t start_of_living_process(int process) noexcept {
  if (process <= 0) {
    return no_process;
  }
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", process);
  const file_descriptor fd(::open(path.data(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> text{};
  if (!fd || ::read(fd.get(), text.data(), text.size() - 1) <= 0) {
    return ::kill(process, 0) != 0 && errno == ESRCH ? no_process : unknown_start;
  }
  // Behind the name, which may hold anything but ends at the last bracket: state, five ids, flags, ten numbers, how
  // many threads, one more number, and the start time.
  const char* const name_end = std::strrchr(text.data(), ')');
  char state = 'X';
  unsigned flags = 0;
  long threads = 0;
  unsigned long long start = 0;
  constexpr const char* form = " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu";
  if (name_end == nullptr || std::sscanf(name_end + 1, form, &state, &flags, &threads, &start) != 4) {
    return unknown_start;
  }
  constexpr unsigned exiting = 0x4;  // PF_EXITING
  const bool first_thread_ends = state == 'Z' || state == 'X' || (flags & exiting) != 0;
  return first_thread_ends && threads <= 1 ? no_process : start;
}

}  // namespace shoal::os
