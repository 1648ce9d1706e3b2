#include "process/program.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>

#include "os/error.hpp"

namespace shoal {
namespace {

void check_code(int code, const std::string& attempt) {
  if (code != 0) {
    os::throw_errno(attempt, code);
  }
}

class file_actions {
 public:
  file_actions() { check_code(::posix_spawn_file_actions_init(&actions_), "preparing the start of a program"); }
  file_actions(const file_actions&) = delete;
  file_actions& operator=(const file_actions&) = delete;
  ~file_actions() { ::posix_spawn_file_actions_destroy(&actions_); }

  posix_spawn_file_actions_t* get() noexcept { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

class attributes {
 public:
  attributes() { check_code(::posix_spawnattr_init(&attributes_), "preparing the start of a program"); }
  attributes(const attributes&) = delete;
  attributes& operator=(const attributes&) = delete;
  ~attributes() { ::posix_spawnattr_destroy(&attributes_); }

  posix_spawnattr_t* get() noexcept { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) {
    pointers.push_back(const_cast<char*>(word.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

os::pidfd start_program(const program& which, int given) {
  file_actions actions;
  const std::string preparing = "preparing the start of " + which.path;
  check_code(::posix_spawn_file_actions_adddup2(actions.get(), given, program::channel), preparing);
  if (!which.inherit_stdin) {
    check_code(::posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0), preparing);
  }
  check_code(::posix_spawn_file_actions_addclosefrom_np(actions.get(), program::channel + 1), preparing);

  attributes settings;
  sigset_t none;
  ::sigemptyset(&none);
  check_code(::posix_spawnattr_setsigmask(settings.get(), &none), preparing);
  check_code(::posix_spawnattr_setflags(settings.get(), POSIX_SPAWN_SETSIGMASK), preparing);

  const std::vector<char*> arguments = pointers_to(which.arguments);
  const std::vector<char*> environment = which.environment ? pointers_to(*which.environment) : std::vector<char*>{};
  pid_t pid = 0;
  check_code(::posix_spawn(&pid, which.path.c_str(), actions.get(), settings.get(), arguments.data(),
                           which.environment ? environment.data() : environ),
             "starting the program " + which.path);
  try {
    return os::pidfd::open(pid);
  } catch (...) {
    // It waits for what it is to be sent, so it is ours still, and has done nothing.
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw;
  }
}

}  // namespace shoal
