#include "process/own_fork_server.hpp"

#include <pthread.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "process/child_process.hpp"
#include "process/child_settings.hpp"
#include "process/own_program.hpp"

namespace shoal {
namespace {

/// The server of this process. A fork of it inherits the door, and is a client of the same one.
class own_fork_server {
 public:
  static own_fork_server& instance() {
    static auto* const only = new own_fork_server();
    return *only;
  }

  fork_server_door::started start() {
    constexpr int most_launches = 2;
    for (int launches = 0;; ++launches) {
      const std::shared_ptr<running> server = current();
      try {
        return server->door.start();
      } catch (const fork_server_gone&) {
        forget(server);
        if (launches == most_launches) {
          os::throw_errno(
              "starting a process by the fork server, which ends again and again before it comes to the shoal::runtime "
              "in its main",
              ECHILD);
        }
      }
    }
  }

 private:
  struct running {
    fork_server_door door;
    child_process process;
    pid_t launcher;

    running(std::pair<fork_server_door, os::pidfd> launched)
        : door(std::move(launched.first)), process(std::move(launched.second)), launcher(::getpid()) {}
  };

  own_fork_server() {
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().mutex_.unlock(); });
  }

  std::shared_ptr<running> current() {
    const std::scoped_lock lock(mutex_);
    if (server_ == nullptr) {
      const program self = own_program("forkserver " + std::to_string(::getpid()), environment_list({}));
      server_ = std::make_shared<running>(fork_server_door::launch(self));
    }
    return server_;
  }

  void forget(const std::shared_ptr<running>& dead) {
    const std::scoped_lock lock(mutex_);
    if (server_ == dead) {
      server_ = nullptr;
    }
    if (dead->launcher == ::getpid()) {
      try {
        while (dead->process.wait_until(forever) != os::pidfd::wait_result::ended) {
        }
        (void)dead->process.try_reap();
      } catch (const std::system_error&) {
        // The program ignores SIGCHLD, or another thread was first.
      }
    }
  }

  std::mutex mutex_;
  std::shared_ptr<running> server_;
};

// Before anybody can fork while it is being made.
[[maybe_unused]] const own_fork_server& made_early = own_fork_server::instance();

}  // namespace

fork_server_door::started start_from_own_fork_server() { return own_fork_server::instance().start(); }

}  // namespace shoal
