#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shoal/process_options.hpp"

namespace shoal {

/// The part of process_options that a process applies to itself before its function runs. Sent to it as a value.
struct child_settings {
  std::string name;  // for the kernel
  start_method method = start_method::fork;
  start_method default_method = start_method::fork;
  std::int32_t starter = 0;
  bool daemon = false;
  bool inherit_stdin = false;
  std::optional<std::string> working_directory;
  std::optional<std::vector<std::string>> environment;  // NAME=value
  std::vector<int> cpu_affinity;
  std::optional<int> nice;
  std::optional<std::uint64_t> max_memory;
  std::vector<int> descriptors;  // numbers that the first descriptors sent with this get

  /// Whether applying it may fail, so that the starter should wait for an answer.
  [[nodiscard]] bool may_fail() const noexcept {
    return working_directory || !cpu_affinity.empty() || nice || max_memory;
  }
};

/// Completed for one process that this one is about to start. @throws std::invalid_argument  what makes no sense.
[[nodiscard]] child_settings settings_of(const process_options& options, start_method method);

/// The environment as a list. @throws std::invalid_argument  a name that cannot be one.
[[nodiscard]] std::vector<std::string> environment_list(const process_options& options);

/// In the new process: applies all but `daemon` and `descriptors`.
/// @throws std::system_error  says what could not be applied.
void apply(const child_settings& settings);

}  // namespace shoal
