#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shoal {

/// How a process is started.
///
///     fork        A copy of this process: sees all its memory, through references too. The more memory this process
///                 has touched, the longer it takes. Of the threads only the one that forks exists in it, and locks
///                 that others held stay locked there.
///     spawn       This program, executed anew: a clean process, whatever this one has done before. Function and
///                 arguments are sent to it.
///     forkserver  A fork of a process of this program that was executed once, has done nothing since, and has one
///                 thread: as clean as spawn, nearly as quick as fork, and as quick for a large process.
///
/// spawn and forkserver need a `shoal::runtime` in main.
enum class start_method { fork, spawn, forkserver };

/// The method of processes that are given none; `fork` at first. Processes started later take it over.
/// Threads: may be called concurrently.
void set_start_method(start_method method) noexcept;
[[nodiscard]] start_method get_start_method() noexcept;

/// What a process is to be. Kept in a variable it serves for many.
///
/// What is not said is as in the process that starts it, by any method; but a child of the fork server has the limits,
/// niceness, CPUs, umask and credentials that its starter had when the server was launched.
///
/// What cannot be applied makes the constructor of `process` throw; the function has not run then, and nothing is left.
struct process_options {
  std::optional<start_method> method{};  ///< none: get_start_method()
  std::string name{};                    ///< shown by ps and top (15 bytes of it) and in messages
  bool daemon = false;                   ///< killed when the process that started it dies, in whatever way
  std::optional<std::filesystem::path> working_directory{};
  std::optional<std::map<std::string, std::string>> environment{};  ///< all of it
  std::vector<int> cpu_affinity{};          ///< the CPUs it may run on; empty: any that the starter may
  std::optional<int> nice{};                ///< its priority, from -20, the highest, to 19
  std::optional<std::size_t> max_memory{};  ///< bytes of private memory (RLIMIT_DATA); beyond: std::bad_alloc
  bool inherit_stdin = false;               ///< otherwise its standard input is empty
  std::vector<int> descriptors{};           ///< it has these, under the same numbers; a fork has all others too
};

}  // namespace shoal
