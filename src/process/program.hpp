#pragma once

#include <optional>
#include <string>
#include <vector>

#include "os/pidfd.hpp"

namespace shoal {

/// A program that is to be executed beside this one.
struct program {
  /// The descriptor by which it finds the socket it was given.
  static constexpr int channel = 3;

  std::string path;
  std::vector<std::string> arguments;                   // the first is its own name
  std::optional<std::vector<std::string>> environment;  // NAME=value; nothing: that of this process
  bool inherit_stdin = false;                           // otherwise its standard input is empty
};

/// Executes a program in a new child, which has stdout, stderr, `given` as descriptor 3, and no others; no signal is
/// blocked in it, and those that this process ignores are ignored.
///
/// The system call behind it shares this process's memory until the execution, so that the cost does not grow with it.
/// @throws std::system_error  there is no such program, it cannot be executed, or no process or descriptor is left;
///     nothing is left behind.
os::pidfd start_program(const program& which, int given);

}  // namespace shoal
