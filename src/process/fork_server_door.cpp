#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "process/fork_server.hpp"
#include "process/fork_server_messages.hpp"
#include "process/packet.hpp"

namespace shoal {
namespace {

[[noreturn]] void throw_gone() { throw fork_server_gone("the fork server has ended"); }

// A process that ends closes what it has opened last first, so its end of the channel before that of the door.
bool has_ended(int door) {
  constexpr int a_moment = 500;
  pollfd server{.fd = door, .events = 0, .revents = 0};
  return ::poll(&server, 1, a_moment) == 1 && (server.revents & POLLHUP) != 0;
}

}  // namespace

std::pair<fork_server_door, os::pidfd> fork_server_door::launch(const program& server) {
  // Both ends are closed in forks, but for the duplicate that is kept: a fork that had the server's would keep clients
  // from noticing its end.
  auto [clients, servers] = start_channel::create();
  fork_server_door door(os::file_descriptor::duplicate(clients.get()));
  os::pidfd process = start_program(server, servers.get());
  return {std::move(door), std::move(process)};
}

fork_server_door::request fork_server_door::ask() const {
  auto [ours, childs] = start_channel::create();
  const std::array descriptors{childs.get()};
  try {
    send_packet(get(), {}, descriptors);
  } catch (const std::system_error& failure) {
    if (failure.code() == std::errc::broken_pipe || failure.code() == std::errc::connection_reset) {
      throw_gone();
    }
    throw;
  }
  return {std::move(ours), get()};
}

std::optional<fork_server_door::started> fork_server_door::request::try_finish() {
  pollfd answer{.fd = channel_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&answer, 1, 0) <= 0) {
    return std::nullopt;
  }
  fork_server_message said{};
  std::vector<os::file_descriptor> descriptors;
  if (receive_packet(channel_.get(), std::as_writable_bytes(std::span(&said, 1)), descriptors) != sizeof said) {
    if (!has_ended(door_)) {
      os::throw_errno("starting a process by the fork server, which has no descriptor left for it", EMFILE);
    }
    throw_gone();  // between request and answer; if the child was forked, it will find nobody at the other end
  }
  if (said.what != fork_server_message::kind::started || descriptors.empty()) {
    os::throw_errno("starting a process by the fork server", said.number);
  }
  return started{os::pidfd::adopt(std::move(descriptors.front()), said.number), std::move(channel_)};
}

fork_server_door::started fork_server_door::start() const {
  request asked = ask();
  for (;;) {
    if (std::optional<started> answer = asked.try_finish()) {
      return *std::move(answer);
    }
    pollfd wait{.fd = asked.descriptor(), .events = POLLIN, .revents = 0};
    ::poll(&wait, 1, -1);
  }
}

}  // namespace shoal
