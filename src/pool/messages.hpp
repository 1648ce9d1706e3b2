#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "shoal/error.hpp"
#include "shoal/record.hpp"

// What a pool and its workers write into the records of a work_queue.
namespace shoal {

struct task_header {
  const void* function;     // a detail::task_function: where it is in the pool's process
  std::uint32_t name_size;  // of its name, which follows; behind it are the arguments
  std::uint32_t is_timed;   // somebody watches how long it runs
};

/// The note of an outcome, and what its bytes are then.
enum class result_kind : std::uint16_t {
  value,           // what the task_function wrote
  exception,       // see encode_current_exception
  lack_of_memory,  // none: it was a std::bad_alloc, in a worker whose memory is limited
  too_large,       // the size of a result for which there is no shared memory
};

template <class Header>
const_bytes bytes_of(const Header& header) {
  return std::as_bytes(std::span(&header, 1));
}

[[noreturn]] inline void throw_short_message(std::size_t found, std::size_t expected) {
  throw error(errc::corrupt_record, "a message between a pool and its worker is too short: " + std::to_string(found) +
                                        " bytes, expected at least " + std::to_string(expected));
}

/// Cuts the first `size` bytes off `bytes`.
inline const_bytes take_bytes(const_bytes& bytes, std::size_t size) {
  if (bytes.size() < size) {
    throw_short_message(bytes.size(), size);
  }
  const const_bytes taken = bytes.first(size);
  bytes = bytes.subspan(size);
  return taken;
}

template <class Header>
Header take_header(const_bytes& bytes) {
  Header header;
  std::memcpy(&header, take_bytes(bytes, sizeof header).data(), sizeof header);
  return header;
}

}  // namespace shoal
