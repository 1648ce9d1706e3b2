#pragma once

#include <string>
#include <system_error>

namespace shoal {

/// What can fail at run time and is Shoal's own; failures of the system keep their `errno` in `std::generic_category`.
enum class errc {
  not_a_segment = 1,  ///< the descriptor refers to no Shoal segment
  layout_mismatch,    ///< a segment of another layout version, word size or C library
  wrong_kind,         ///< a segment, but of another kind of object
  truncated_segment,  ///< shorter than its header says
  corrupt_record,     ///< a record whose header or bytes make no sense
  wrong_type,         ///< a well-formed record that holds another type than was asked for
  closed,             ///< the object was closed and can take no more
  unknown_function,   ///< a function sent to a process that has not loaded its code
  broken_barrier,     ///< a barrier at which a thread has died, or which was aborted, reset or not met in time
};

[[nodiscard]] const std::error_category& shoal_category() noexcept;
[[nodiscard]] std::error_code make_error_code(errc code) noexcept;

/// A `std::system_error` whose text is exactly `what`: what was asked, what was found, what to do.
class error : public std::system_error {
 public:
  error(errc code, std::string what);
  error(std::error_code code, std::string what);
  [[nodiscard]] const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

}  // namespace shoal

template <>
struct std::is_error_code_enum<shoal::errc> : std::true_type {};
