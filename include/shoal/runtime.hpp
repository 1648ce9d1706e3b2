#pragma once

namespace shoal {

/// Makes a program able to start processes by start_method::spawn and start_method::forkserver, which execute it anew.
/// Construct one first thing in main:
///
///     int main() {
///       shoal::runtime runtime;
///       ...
///     }
///
/// In a program that was executed as such a process the constructor does not return: the process's function runs in
/// it. What comes before it, constructors of static objects for one, runs in each of them. Without one, starting a
/// process by these methods throws, so that a program can never start itself over and over.
///
/// Recognised by an environment variable, SHOAL_PROCESS, which it removes at once.
class runtime {
 public:
  runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;
  ~runtime() = default;
};

}  // namespace shoal
