#pragma once

#include <string>

namespace shoal {

/// What can be told about an exception in another process.
struct exception_text {
  std::string type;     ///< as in the source: "std::out_of_range"
  std::string message;  ///< what(); empty if it is no std::exception
};

/// Describes the exception being handled.
[[nodiscard]] exception_text describe_current_exception();

}  // namespace shoal
