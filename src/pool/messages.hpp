#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "shoal/detail/code_location.hpp"
#include "shoal/error.hpp"
#include "shoal/record.hpp"

// What a pool and its workers write into the records of a work_queue: one of these headers, and encoded values behind
// it.
namespace shoal {

struct task_header {
  detail::code_location function;  // a detail::task_function
};

enum class result_kind : std::uint64_t {
  value,             // what the task_function wrote
  exception,         // type, message
  unknown_function,  // message
};

struct result_header {
  result_kind kind;
};

template <class Header>
const_bytes bytes_of(const Header& header) {
  return std::as_bytes(std::span(&header, 1));
}

/// Cuts the header off `bytes`.
template <class Header>
Header take_header(const_bytes& bytes) {
  Header header;
  if (bytes.size() < sizeof header) {
    throw error(errc::corrupt_record,
                "a message between a pool and its worker is too short: " + std::to_string(bytes.size()) +
                    " bytes, expected at least " + std::to_string(sizeof header));
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  bytes = bytes.subspan(sizeof header);
  return header;
}

}  // namespace shoal
