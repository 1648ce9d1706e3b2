#include "process/start_channel.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "os/forks.hpp"
#include "process/packet.hpp"

namespace shoal {
namespace {

// What comes first, in a packet of its own: the receiver can make room for the descriptors before they arrive.
struct announcement {
  std::uint64_t bytes;
  std::uint64_t descriptors;
};

constexpr std::size_t most_bytes = std::size_t{64} << 10;  // of a packet; far below what a socket takes by default

/// The ends that this process has open, which a fork of it closes.
class open_ends {
 public:
  static open_ends& instance() {
    static auto* const only = new open_ends();
    return *only;
  }

  /// Makes two, with no moment for a fork of another thread to inherit one that is not listed.
  std::pair<int, int> create() {
    const std::scoped_lock lock(mutex_);
    auto [first, second] = packet_sockets("creating a socket for a new process");
    sockets_.insert(first.get());
    try {
      sockets_.insert(second.get());
    } catch (...) {
      sockets_.erase(first.get());
      throw;
    }
    return {first.release(), second.release()};
  }

  void close(int socket) noexcept {
    const std::scoped_lock lock(mutex_);
    sockets_.erase(socket);
    ::close(socket);
  }

 private:
  open_ends() {
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] {
                       for (const int socket : instance().sockets_) {
                         ::close(socket);
                       }
                       instance().sockets_.clear();
                       instance().mutex_.unlock();
                     });
  }

  std::mutex mutex_;
  std::unordered_set<int> sockets_;
};

// Before anybody can fork while it is being made.
[[maybe_unused]] const open_ends& made_early = open_ends::instance();

bool may_have(std::size_t more) {
  rlimit limit{};
  constexpr std::size_t reserve = 64;  // for what is open already; recvmsg has the last word
  return ::getrlimit(RLIMIT_NOFILE, &limit) != 0 || more + reserve <= limit.rlim_cur;
}

}  // namespace

std::pair<start_channel, start_channel> start_channel::create() {
  const auto [starters, childs] = open_ends::instance().create();
  return {start_channel(starters), start_channel(childs)};
}

start_channel::start_channel(int listed) noexcept : socket_(listed), generation_(os::generation()) {}

start_channel& start_channel::operator=(start_channel&& other) noexcept {
  if (this != &other) {
    close();
    socket_ = std::exchange(other.socket_, -1);
    generation_ = other.generation_;
  }
  return *this;
}

int start_channel::get() const noexcept { return generation_ == os::generation() ? socket_ : -1; }

void start_channel::close() noexcept {
  if (const int socket = get(); socket >= 0) {
    open_ends::instance().close(socket);
  }
  socket_ = -1;
}

void start_channel::send(const_bytes bytes, std::span<const int> descriptors) const {
  const announcement first{bytes.size(), descriptors.size()};
  send_packet(get(), {reinterpret_cast<const std::byte*>(&first), sizeof first}, {});
  while (!bytes.empty() || !descriptors.empty()) {
    const const_bytes some = bytes.first(std::min(bytes.size(), most_bytes));
    const std::span<const int> few = descriptors.first(std::min(descriptors.size(), most_descriptors_in_packet));
    send_packet(get(), some, few);
    bytes = bytes.subspan(some.size());
    descriptors = descriptors.subspan(few.size());
  }
}

std::optional<start_package> receive_package(int channel) {
  start_package package;
  announcement first{};
  std::vector<os::file_descriptor> none;
  if (receive_packet(channel, {reinterpret_cast<std::byte*>(&first), sizeof first}, none) != sizeof first) {
    return std::nullopt;
  }
  if (!may_have(first.descriptors)) {
    os::raise_descriptor_limit();
  }
  package.bytes.resize(first.bytes);
  package.descriptors.reserve(first.descriptors);
  std::size_t received = 0;
  while (received < first.bytes || package.descriptors.size() < first.descriptors) {
    const std::size_t descriptors_before = package.descriptors.size();
    // A packet of descriptors alone has one byte, which is nobody's: none would look like the end.
    std::byte spare{};
    const std::span<std::byte> rest = std::span(package.bytes).subspan(received);
    const std::size_t size =
        receive_packet(channel, rest.empty() ? std::span(&spare, 1) : rest.first(std::min(rest.size(), most_bytes)),
                       package.descriptors);
    if (size == 0) {
      return std::nullopt;
    }
    received += rest.empty() ? 0 : size;
    if (rest.empty() && package.descriptors.size() == descriptors_before) {
      os::throw_errno("receiving what a process was started with: a packet without its descriptors", EPROTO);
    }
  }
  return package;
}

}  // namespace shoal
