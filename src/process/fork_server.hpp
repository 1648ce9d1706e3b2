#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include "os/file_descriptor.hpp"
#include "os/pidfd.hpp"
#include "process/program.hpp"
#include "process/start_channel.hpp"

namespace shoal {

/// The fork server has ended. Whoever wanted something started may launch another one: nothing was started.
class fork_server_gone : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The clients' end of a fork server: where processes are asked for.
///
///     client                        server                      child
///     request, child's end  ──────> fork                 ─────> waits for its package
///     pidfd                 <────── its id and pidfd
///     package               ──────────────────────────────────> begins
///     exit status           <────── reaps                <───── ends
///
/// All but the request goes through the child's own start_channel. A child begins when it has its whole package, which
/// the client sends when it has the child's pidfd; so a client or a server that is killed in between leaves a child
/// that ends by itself, and nothing is ever run twice.
///
/// Threads, processes: all members may be called concurrently; any process that has the descriptor is a client.
class fork_server_door {
 public:
  /// Executes a program that finds the server's end as its descriptor `program::channel`, and calls serve_forks.
  /// @throws std::system_error  as start_program.
  static std::pair<fork_server_door, os::pidfd> launch(const program& server);

  /// Takes over a descriptor that was inherited or received.
  explicit fork_server_door(os::file_descriptor door) noexcept : door_(std::move(door)) {}

  [[nodiscard]] int get() const noexcept { return door_.get(); }

  struct started {
    os::pidfd process;  // a child of the server, so it cannot be waited for; see child_process
    start_channel channel;
  };

  /// A process that was asked for, and of which nothing was heard yet. Must not outlive the door.
  class request {
   public:
    /// Polls readable when try_finish has an answer.
    [[nodiscard]] int descriptor() const noexcept { return channel_.get(); }

    /// @return nothing if there is no answer yet.
    /// @throws fork_server_gone
    /// @throws std::system_error  the server cannot fork: no process or descriptor left, there or here.
    std::optional<started> try_finish();

   private:
    friend class fork_server_door;
    request(start_channel channel, int door) noexcept : channel_(std::move(channel)), door_(door) {}
    start_channel channel_;
    int door_;
  };

  /// @throws fork_server_gone
  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] request ask() const;

  /// Asks, and waits for the answer. Throws what both throw.
  [[nodiscard]] started start() const;

 private:
  os::file_descriptor door_;
};

/// The fork server: forks a child for each request, and tells how it ended, as long as there are clients.
///
/// The process should have one thread. SIGINT is blocked meanwhile, so that Ctrl-C is for the clients, and SIGCHLD is
/// not ignored; children have both as they were. They have no descriptors that the server had opened for other
/// children, nor its door.
///
/// @param fork  what to fork with, if it is more than ::fork
/// @return in each child its end of the start_channel; nothing in the server, once no client is left.
/// @throws std::system_error  out of memory or descriptors at the beginning.
std::optional<os::file_descriptor> serve_forks(os::file_descriptor door, const std::function<pid_t()>& fork);

}  // namespace shoal
