#include "process/fork_server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "process/fork_server_messages.hpp"
#include "process/packet.hpp"

namespace shoal {
namespace {

using message = fork_server_message;

/// What the server does about signals as long as this lives, which in a child is not for long.
///
/// SIGINT is blocked. Were it ignored instead, one that is sent to a new child would be lost if it comes before the
/// child has done with the server's settings; so it comes when this ends. SIGCHLD is not ignored, or the kernel would
/// reap children by itself, and nobody would know how they ended.
class server_signals {
 public:
  server_signals() noexcept {
    sigset_t interrupt;
    ::sigemptyset(&interrupt);
    ::sigaddset(&interrupt, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &interrupt, &mask_);
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &by_default, &on_child_);
  }
  ~server_signals() {
    ::sigaction(SIGCHLD, &on_child_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  server_signals(const server_signals&) = delete;
  server_signals& operator=(const server_signals&) = delete;

 private:
  sigset_t mask_;
  struct sigaction on_child_ {};
};

class server {
 public:
  server(os::file_descriptor door, const std::function<pid_t()>& fork)
      : fork_(fork), door_(std::move(door)), poll_(::epoll_create1(EPOLL_CLOEXEC)) {
    ::getrlimit(RLIMIT_NOFILE, &limit_);
    os::raise_descriptor_limit();  // two for each child, of any number of clients
    os::check(poll_.get(), "creating the fork server's epoll instance");
    watch(door_.get());
  }

  std::optional<os::file_descriptor> serve() {
    for (;;) {
      std::array<epoll_event, 64> ready;
      constexpr int look_again = 50;  // milliseconds
      const int count = ::epoll_wait(poll_.get(), ready.data(), ready.size(), traced_.empty() ? -1 : look_again);
      bury_traced();
      for (int i = 0; i < count; ++i) {
        const int fd = ready[static_cast<std::size_t>(i)].data.fd;
        if (fd != door_.get()) {
          bury(fd);
          continue;
        }
        std::vector<os::file_descriptor> received;
        if (!take_request(received)) {
          return std::nullopt;
        }
        for (os::file_descriptor& channel : received) {
          if (start(channel)) {
            return std::move(channel);
          }
        }
      }
    }
  }

 private:
  struct child {
    os::pidfd process;
    os::file_descriptor channel;
  };

  void watch(int fd) const {
    epoll_event wanted{.events = EPOLLIN, .data = {.fd = fd}};
    os::check(::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &wanted), "watching a child of the fork server");
  }

  /// @return false if there is no client any more.
  bool take_request(std::vector<os::file_descriptor>& received) const {
    std::byte spare{};
    try {
      return receive_packet(door_.get(), {&spare, 1}, received) != 0;
    } catch (const std::system_error&) {
      return true;  // the child's end was dropped on its way, or was none; its client notices
    }
  }

  /// @return true in the child.
  bool start(os::file_descriptor& channel) {
    const pid_t pid = fork_();
    if (pid == 0) {
      leave_server();
      return true;
    }
    if (pid < 0) {
      tell(channel.get(), {message::kind::failed, errno}, {});
      return false;
    }
    try {
      os::pidfd process = os::pidfd::open(pid);
      const int fd = process.get();
      watch(fd);
      const std::array descriptors{fd};
      tell(channel.get(), {message::kind::started, pid}, descriptors);
      children_.emplace(fd, child{std::move(process), std::move(channel)});
    } catch (const std::system_error& failure) {
      ::kill(pid, SIGKILL);  // it waits for its package, so it has done nothing
      while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
      }
      tell(channel.get(), {message::kind::failed, failure.code().value()}, {});
    }
    return false;
  }

  void bury(int fd) {
    const auto found = children_.find(fd);
    if (found == children_.end()) {
      return;
    }
    child& ended = found->second;
    // The client has a duplicate of the pidfd, so closing it here would not be the end of it for epoll.
    ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    if (!ended.process.is_reapable()) {
      traced_.push_back(fd);
      return;
    }
    try {
      if (const std::optional<exit_status> status = ended.process.try_reap()) {
        tell(ended.channel.get(),
             status->exited() ? message{message::kind::exited, status->code()}
                              : message{message::kind::killed, status->signal()},
             {});
      }
    } catch (const std::system_error&) {
      // A preloaded module has waited for it; the client will notice that nothing is told.
    }
    children_.erase(found);
  }

  /// Of children that a tracer had to see first.
  void bury_traced() {
    for (const int fd : std::exchange(traced_, {})) {
      bury(fd);
    }
  }

  /// Does not wait for a client, in whose socket there is room for the two things that it is told of a child.
  static void tell(int channel, message what, std::span<const int> descriptors) noexcept {
    try {
      send_packet(channel, std::as_bytes(std::span(&what, 1)), descriptors);
    } catch (const std::system_error&) {
      // The client is gone.
    }
  }

  void leave_server() noexcept {
    children_.clear();
    door_.reset();
    poll_.reset();
    ::setrlimit(RLIMIT_NOFILE, &limit_);
  }

  const std::function<pid_t()>& fork_;
  os::file_descriptor door_;
  os::file_descriptor poll_;
  rlimit limit_{};                           // of descriptors, as it was and as children have it
  std::unordered_map<int, child> children_;  // by pidfd
  std::vector<int> traced_;                  // pidfds of those that have ended, and cannot be waited for yet
};

}  // namespace

std::optional<os::file_descriptor> serve_forks(os::file_descriptor door, const std::function<pid_t()>& fork) {
  const server_signals signals;
  return server(std::move(door), fork).serve();
}

}  // namespace shoal
