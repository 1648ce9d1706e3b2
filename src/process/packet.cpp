#include "process/packet.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace shoal {
namespace {

constexpr std::size_t control_size = CMSG_SPACE(most_descriptors_in_packet * sizeof(int));

void take_descriptors(msghdr& message, std::vector<os::file_descriptor>& descriptors) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int one = -1;
      std::memcpy(&one, CMSG_DATA(part) + i * sizeof(int), sizeof one);
      descriptors.emplace_back(os::above_standard_streams(one, "receiving a descriptor"));
    }
  }
}

// More descriptors under way than the user may have (unix(7)): until some arrive, which they do, for a while.
class traffic_jam {
 public:
  bool clears() {
    os::raise_descriptor_limit();  // which is what the number is measured by
    constexpr timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&moment, nullptr);
    return ++moments_ < 10'000;
  }

 private:
  int moments_ = 0;
};

}  // namespace

std::pair<os::file_descriptor, os::file_descriptor> packet_sockets(const char* attempt) {
  int ends[2];
  const auto create = [&ends] { return ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends); };
  int failure = create();
  if (failure != 0 && errno == EMFILE) {
    os::raise_descriptor_limit();
    failure = create();
  }
  if (failure != 0) {
    os::throw_no_descriptor(attempt);
  }
  os::file_descriptor second(ends[1]);
  os::file_descriptor first(os::above_standard_streams(ends[0], attempt));
  second.reset(os::above_standard_streams(second.release(), attempt));
  return {std::move(first), std::move(second)};
}

void send_packet(int socket, const_bytes bytes, std::span<const int> descriptors) {
  std::byte spare{};
  iovec data{.iov_base = bytes.empty() ? &spare : const_cast<std::byte*>(bytes.data()),
             .iov_len = bytes.empty() ? 1 : bytes.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[control_size];
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    std::memset(control, 0, message.msg_controllen);
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(part), descriptors.data(), descriptors.size_bytes());
  }
  traffic_jam jam;
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR && !(errno == ETOOMANYREFS && jam.clears())) {
      os::throw_errno("sending to a process that is being started");
    }
  }
}

std::size_t receive_packet(int socket, std::span<std::byte> bytes, std::vector<os::file_descriptor>& descriptors) {
  iovec data{.iov_base = bytes.data(), .iov_len = bytes.size()};
  alignas(cmsghdr) char control[control_size];
  msghdr message{};
  ssize_t size = 0;
  do {
    message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno != ECONNRESET) {
    os::throw_errno("receiving from the other end of a process's start");
  }
  if (size <= 0) {
    return 0;
  }
  take_descriptors(message, descriptors);
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    errno = EMFILE;
    os::throw_no_descriptor("receiving the descriptors that a process was started with");
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    os::throw_errno("receiving from the other end of a process's start", EMSGSIZE);
  }
  return static_cast<std::size_t>(size);
}

}  // namespace shoal
