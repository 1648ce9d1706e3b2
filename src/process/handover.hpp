#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "os/file_descriptor.hpp"
#include "os/futex.hpp"

namespace shoal {

/// A page or two that a process shares with the one that started it: the starter's word that a fork may begin, the
/// process's that it runs or why it does not, and later how it failed.
///
/// Each side unmaps its own view. Kill-safety: a failure is reported whole or not at all.
class handover {
 public:
  /// For a fork. @throws std::system_error  no memory.
  handover();

  /// In memory that make_memory has made, maybe in another process. @throws std::system_error  no address space left.
  explicit handover(int memory);

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  static os::file_descriptor make_memory();

  handover(const handover&) = delete;
  handover& operator=(const handover&) = delete;
  ~handover();

  void let_begin() noexcept;

  /// In a fork: waits to be let begin. @return false if the parent died before.
  bool wait_for_begin(int parent) const noexcept;

  struct failure {
    std::string type;     // of an exception
    std::string message;  // or what was attempted, where there is an error
    int error;            // errno, if the process could not be made what it should be; then its function has not run
  };

  /// In the process: its function runs from now on.
  void say_running() noexcept;

  /// In the process: keeps as much of both texts as there is room for.
  void report(std::string_view type, std::string_view message, int error = 0) noexcept;

  /// Waits a moment until the process runs or has failed. @return false if it has done neither yet.
  [[nodiscard]] bool wait_for_answer() const noexcept;

  [[nodiscard]] std::optional<failure> reported() const;

 private:
  static constexpr std::size_t size = 16384;

  // What lies in the shared pages; zero at first.
  struct shared {
    os::futex_word may_begin;
    os::futex_word answered;
    std::atomic<std::uint32_t> reported;  // COMMIT: a release store here makes the failure below real
    std::int32_t error;
    std::uint32_t type_size;
    std::uint32_t message_size;
    char text[size - 24];  // type, then message
  };
  static_assert(sizeof(shared) == size);

  void answer() noexcept;

  shared* shared_;
};

}  // namespace shoal
