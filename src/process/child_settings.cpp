#include "process/child_settings.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "os/error.hpp"

namespace shoal {
namespace {

std::string list(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) {
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  }
  return text;
}

void apply_working_directory(const std::string& directory) {
  if (::chdir(directory.c_str()) != 0) {
    os::throw_errno("starting a process: making " + directory + " its working directory");
  }
}

void apply_nice(int nice) {
  const std::string attempt = "starting a process: setting nice to " + std::to_string(nice);
  if (nice < -20 || nice > 19) {  // the kernel would take the nearest instead
    os::throw_errno(attempt + ", which is not from -20 to 19", EINVAL);
  }
  if (::setpriority(PRIO_PROCESS, 0, nice) != 0) {
    os::throw_errno(attempt);
  }
}

void apply_cpu_affinity(const std::vector<int>& cpus) {
  const std::string attempt = "starting a process: setting cpu_affinity to " + list(cpus);
  const auto [least, most] = std::ranges::minmax(cpus);
  if (least < 0 || most >= CPU_SETSIZE) {
    os::throw_errno(attempt + ", which are not all numbers of CPUs", EINVAL);
  }
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (const int cpu : cpus) {
    CPU_SET(static_cast<std::size_t>(cpu), &wanted);
  }
  cpu_set_t got;
  CPU_ZERO(&got);
  if (::sched_setaffinity(0, sizeof wanted, &wanted) != 0 || ::sched_getaffinity(0, sizeof got, &got) != 0) {
    os::throw_errno(attempt);
  }
  if (CPU_EQUAL(&wanted, &got) == 0) {  // the kernel passes over those there are not
    os::throw_errno(attempt + ", of which this process may not use all", EINVAL);
  }
}

void apply_max_memory(std::uint64_t bytes) {
  const std::string attempt = "starting a process: setting max_memory to " + std::to_string(bytes) + " bytes";
  const rlimit limit{bytes, bytes};
  if (::setrlimit(RLIMIT_DATA, &limit) != 0) {
    os::throw_errno(attempt);
  }
  // The kernel accepts less than is in use.
  constexpr std::size_t some = 65536;
  void* const probe = ::mmap(nullptr, some, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (probe == MAP_FAILED) {
    os::throw_errno(attempt + ", which is less than it has before it begins", ENOMEM);
  }
  ::munmap(probe, some);
}

void apply_environment(const std::vector<std::string>& environment) {
  ::clearenv();
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos && ::setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1) != 0) {
      os::throw_errno("starting a process: setting its environment");
    }
  }
}

void empty_stdin() noexcept {
  int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 && errno == EMFILE) {
    ::close(STDIN_FILENO);
    null = ::open("/dev/null", O_RDONLY);  // gets the lowest number that is free, which is this one
  }
  if (null > STDIN_FILENO) {
    ::dup2(null, STDIN_FILENO);
    ::close(null);
  }
}

}  // namespace

child_settings settings_of(const process_options& options, start_method method) {
  child_settings settings;
  settings.name = options.name;
  settings.method = method;
  settings.default_method = get_start_method();
  settings.starter = ::getpid();
  settings.daemon = options.daemon;
  settings.inherit_stdin = options.inherit_stdin;
  if (options.working_directory) {
    // The fork server may be elsewhere.
    settings.working_directory = std::filesystem::absolute(*options.working_directory).native();
  }
  settings.cpu_affinity = options.cpu_affinity;
  settings.nice = options.nice;
  settings.max_memory = options.max_memory;
  if (method == start_method::forkserver || (method == start_method::fork && options.environment)) {
    settings.environment = environment_list(options);  // a program that is executed gets it with that
  }
  if (method != start_method::fork && settings.name.empty()) {
    char name[16] = {};  // PR_GET_NAME
    ::prctl(PR_GET_NAME, name);
    settings.name = name;
  }
  for (const int fd : options.descriptors) {
    if (::fcntl(fd, F_GETFD) < 0) {
      os::throw_errno("starting a process: handing over descriptor " + std::to_string(fd));
    }
  }
  return settings;
}

std::vector<std::string> environment_list(const process_options& options) {
  std::vector<std::string> entries;
  if (!options.environment) {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      entries.emplace_back(*entry);
    }
    return entries;
  }
  for (const auto& [name, value] : *options.environment) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos ||
        value.find('\0') != std::string::npos) {
      throw std::invalid_argument("starting a process: \"" + name +
                                  "\" cannot be in an environment: a name is not empty and has no =, and neither it "
                                  "nor its value has a zero byte");
    }
    std::string entry = name;
    entry.append("=").append(value);
    entries.push_back(std::move(entry));
  }
  return entries;
}

void apply(const child_settings& settings) {
  if (!settings.name.empty()) {
    ::prctl(PR_SET_NAME, settings.name.c_str());
  }
  if (settings.method != start_method::fork) {
    set_start_method(settings.default_method);
  }
  // A program that is executed gets it with that, and a child of the fork server among its descriptors.
  if (settings.method == start_method::fork && !settings.inherit_stdin) {
    empty_stdin();
  }
  if (settings.environment) {
    apply_environment(*settings.environment);
  }
  if (settings.working_directory) {
    apply_working_directory(*settings.working_directory);
  }
  if (!settings.cpu_affinity.empty()) {
    apply_cpu_affinity(settings.cpu_affinity);
  }
  if (settings.nice) {
    apply_nice(*settings.nice);
  }
  if (settings.max_memory) {
    apply_max_memory(*settings.max_memory);
  }
}

}  // namespace shoal
