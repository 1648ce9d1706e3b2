#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "os/file_descriptor.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// Packets of a SOCK_SEQPACKET socket, with descriptors beside the bytes. See unix(7), SCM_RIGHTS.

inline constexpr std::size_t most_descriptors_in_packet = 250;  // the kernel's SCM_MAX_FD is 253

/// Two connected sockets. @throws std::system_error  no descriptor left.
std::pair<os::file_descriptor, os::file_descriptor> packet_sockets(const char* attempt);

/// Sends one packet; with no bytes but descriptors it has one byte, since an empty one would look like the end. Waits
/// while the other end is behind, and a little while the user has as many descriptors under way as the kernel allows.
/// @throws std::system_error  EPIPE: there is no other end.
void send_packet(int socket, const_bytes bytes, std::span<const int> descriptors);

/// Waits for a packet, and appends the descriptors in it, which are closed on exec.
/// @return how many bytes it had; 0 if there will be none any more.
/// @throws std::system_error  EMFILE: the process may have no more descriptors, even with its limit raised: those in
///     the packet are lost. EMSGSIZE: the packet is longer than `bytes`.
std::size_t receive_packet(int socket, std::span<std::byte> bytes, std::vector<os::file_descriptor>& descriptors);

}  // namespace shoal
