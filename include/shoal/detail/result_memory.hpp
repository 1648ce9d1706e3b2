#pragma once

#include <vector>

#include "shoal/encoder.hpp"

namespace shoal::detail {

/// Where a process leaves its function's result: a file in memory.
///
/// Not for threads. fork: the child shares it.
class result_memory {
 public:
  /// @throws std::system_error  no descriptor left.
  result_memory();
  /// The one behind a descriptor that was received, which is duplicated.
  static result_memory attach_descriptor(int fd);

  result_memory(result_memory&& other) noexcept;
  result_memory& operator=(result_memory&& other) noexcept;
  result_memory(const result_memory&) = delete;
  result_memory& operator=(const result_memory&) = delete;
  ~result_memory();

  [[nodiscard]] int descriptor() const noexcept { return fd_; }

  /// @throws std::system_error  no memory left.
  void store(const encoder& result);
  [[nodiscard]] std::vector<std::byte> load() const;

 private:
  explicit result_memory(int fd) noexcept : fd_(fd) {}

  int fd_;
};

}  // namespace shoal::detail
