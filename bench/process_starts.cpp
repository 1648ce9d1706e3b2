// What it costs to start a process that does nothing and wait for its end, and what the kernel takes of that.
//
//     process_starts shoal fork|spawn|forkserver MEGABYTES COUNT    shoal::process
//     process_starts bare fork|spawn MEGABYTES COUNT                fork + _exit + waitpid;
//                                                                   posix_spawn of this program + waitpid
//
// MEGABYTES of memory have been written to by the process that starts the others.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "processes.hpp"
#include "shoal/process.hpp"
#include "shoal/runtime.hpp"

namespace {

/// This program, asked to do nothing.
constexpr const char* nothing_to_do = "nothing";

void nothing() {}

void wait_for(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) {
    throw std::runtime_error("a process failed");
  }
}

void bare_fork() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::_exit(0);
  }
  wait_for(pid);
}

void bare_spawn() {
  std::string path = "/proc/self/exe";
  std::string what = nothing_to_do;
  char* const arguments[] = {path.data(), what.data(), nullptr};
  pid_t pid = 0;
  if (::posix_spawn(&pid, path.c_str(), nullptr, nullptr, arguments, environ) != 0) {
    throw std::runtime_error("posix_spawn failed");
  }
  wait_for(pid);
}

template <class Start>
double seconds_of(std::size_t count, Start start) {
  start();  // the first one also makes what the others use: the fork server
  const auto begin = bench::clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    start();
  }
  return bench::seconds_since(begin);
}

double with_shoal(shoal::start_method method, std::size_t count) {
  return seconds_of(count, [method] {
    shoal::process child(shoal::process_options{.method = method}, nothing);
    if (!child.join().success()) {
      throw std::runtime_error("a process failed");
    }
  });
}

double by_name(std::string_view who, std::string_view method, std::size_t count) {
  if (who == "bare" && method == "fork") {
    return seconds_of(count, bare_fork);
  }
  if (who == "bare" && method == "spawn") {
    return seconds_of(count, bare_spawn);
  }
  if (who == "shoal" && method == "fork") {
    return with_shoal(shoal::start_method::fork, count);
  }
  if (who == "shoal" && method == "spawn") {
    return with_shoal(shoal::start_method::spawn, count);
  }
  if (who == "shoal" && method == "forkserver") {
    return with_shoal(shoal::start_method::forkserver, count);
  }
  throw std::invalid_argument("expected one of those that are listed in process_starts.cpp");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == std::string_view(nothing_to_do)) {
    return 0;
  }
  const shoal::runtime runtime;
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what.size() != 3) {
      throw std::invalid_argument("expected who, a start method and how many megabytes");
    }
    const std::vector<char> touched(bench::number(what[2]) << 20, 'x');
    return by_name(what[0], what[1], count);
  });
}
