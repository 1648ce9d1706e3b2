#include "shoal/runtime.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "process/child_side.hpp"
#include "process/crash_trace.hpp"
#include "process/fork_server.hpp"
#include "process/own_program.hpp"
#include "shoal/die_with_parent.hpp"

namespace shoal {
namespace {

std::atomic<bool> constructed{false};

bool is_packet_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

std::string take_role() {
  const char* const found = std::getenv(role_variable);
  std::string role = found != nullptr ? found : "";
  ::unsetenv(role_variable);
  // A variable that somebody has set by hand makes no process.
  return is_packet_socket(program::channel) ? role : "";
}

[[noreturn]] void serve(os::file_descriptor door, pid_t launcher) {
  std::optional<os::file_descriptor> channel;
  try {
    die_with_parent(launcher);
    prepare_crash_traces();
    channel = serve_forks(std::move(door), [] { return ::fork(); });
  } catch (...) {
    ::_exit(EXIT_FAILURE);  // clients notice, and launch another one
  }
  if (channel) {
    run_sent(*std::move(channel));
  }
  ::_exit(EXIT_SUCCESS);
}

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (std::size_t at = 0; at < all.size(); at += arguments.back().size() + 1) {
    arguments.emplace_back(all.c_str() + at);
  }
  if (arguments.empty()) {
    arguments.emplace_back(program_invocation_name);
  }
  return arguments;
}

// Read once, and first by the runtime: not by two threads of which one forks meanwhile.
const std::vector<std::string>& arguments_of_program() {
  static const auto* const arguments = new std::vector<std::string>(own_arguments());
  return *arguments;
}

}  // namespace

runtime::runtime() {
  constructed = true;
  (void)arguments_of_program();
  const std::string role = take_role();
  const std::string_view server = "forkserver ";
  if (role.empty()) {
    return;
  }
  os::file_descriptor channel(program::channel);
  ::fcntl(channel.get(), F_SETFD, FD_CLOEXEC);
  if (role.starts_with(server)) {
    pid_t launcher = 0;
    std::from_chars(role.data() + server.size(), role.data() + role.size(), launcher);
    serve(std::move(channel), launcher);
  }
  run_sent(std::move(channel));
}

bool has_runtime() noexcept { return constructed; }

program own_program(const std::string& role, std::vector<std::string> environment) {
  program self;
  self.path = "/proc/self/exe";
  self.arguments = arguments_of_program();
  environment.push_back(std::string(role_variable) + "=" + role);
  self.environment = std::move(environment);
  return self;
}

}  // namespace shoal
