#pragma once

#include <string>

namespace shoal {

/// How a process ended: by exiting with a code, or killed by a signal.
///
/// A value. Threads: as any value.
class exit_status {
 public:
  [[nodiscard]] static constexpr exit_status exited_with(int code) noexcept { return {code, 0}; }
  [[nodiscard]] static constexpr exit_status killed_by(int signal) noexcept { return {0, signal}; }

  [[nodiscard]] constexpr bool exited() const noexcept { return signal_ == 0; }
  [[nodiscard]] constexpr bool signaled() const noexcept { return signal_ != 0; }
  [[nodiscard]] constexpr int code() const noexcept { return code_; }      ///< 0 to 255; meaningful if exited()
  [[nodiscard]] constexpr int signal() const noexcept { return signal_; }  ///< 0 if exited()

  [[nodiscard]] constexpr bool success() const noexcept { return exited() && code_ == 0; }

  friend constexpr bool operator==(const exit_status&, const exit_status&) = default;

 private:
  constexpr exit_status(int code, int signal) noexcept : code_(code), signal_(signal) {}

  int code_;
  int signal_;
};

/// Completes a sentence about a process: "exited with code 3", "was killed by SIGKILL".
[[nodiscard]] std::string to_string(exit_status status);

}  // namespace shoal
