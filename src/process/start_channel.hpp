#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "os/file_descriptor.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// What a process that was not forked from its starter is given: bytes, and descriptors, which are its own.
struct start_package {
  std::vector<std::byte> bytes;
  std::vector<os::file_descriptor> descriptors;
};

/// One end of the socket between a process that is being started and the one that starts it.
///
/// Nobody has the starter's end but the starter: forks of it close both ends as they begin. So its closing means to the
/// child that the starter is gone, or has given up; and that of the child's end to the starter that the child is.
/// Threads: send() and get() may be called concurrently with each other, but not with a move or the destructor.
class start_channel {
 public:
  /// A new socket. @return the starter's end, and the child's, which the child gets a duplicate of.
  /// @throws std::system_error  no descriptor left. @throws std::bad_alloc
  static std::pair<start_channel, start_channel> create();

  start_channel() noexcept = default;
  start_channel(start_channel&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), generation_(other.generation_) {}
  start_channel& operator=(start_channel&& other) noexcept;
  start_channel(const start_channel&) = delete;
  start_channel& operator=(const start_channel&) = delete;
  ~start_channel() { close(); }

  /// -1 if closed, and in a fork of the process that created it.
  [[nodiscard]] int get() const noexcept;

  /// Gives the child its package; the descriptors are duplicated. Waits while the child is behind.
  /// @throws std::system_error  EPIPE: the child has ended.
  void send(const_bytes bytes, std::span<const int> descriptors) const;

  void close() noexcept;

 private:
  explicit start_channel(int listed) noexcept;

  int socket_ = -1;
  std::uint64_t generation_ = 0;  // of the process that has it; see os::generation
};

/// In the child: waits for the package.
/// @return nothing if the starter died or gave up before the package was complete.
/// @throws std::system_error  no descriptor left for those in it.
std::optional<start_package> receive_package(int channel);

}  // namespace shoal
