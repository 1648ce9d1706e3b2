#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "process_support.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::test {

inline const_bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

inline std::string text_of(const record& from) {
  return {reinterpret_cast<const char*>(from.bytes().data()), from.bytes().size()};
}

inline queue_status push(byte_queue& queue, const std::string& text, deadline until = no_waiting) {
  queue_status status{};
  do {
    status = queue.push(encoding::raw, bytes_of(text), until);
  } while (status == queue_status::interrupted || status == queue_status::busy);
  return status;
}

/// The next record, awaited as long as a test may take; "(none)" if none came.
inline std::string pop(byte_queue& queue) {
  record got;
  const deadline until = after(patience);
  queue_status status{};
  do {
    status = queue.pop(got, until);
  } while (status == queue_status::interrupted);
  return status == queue_status::ok ? text_of(got) : "(none)";
}

}  // namespace shoal::test
