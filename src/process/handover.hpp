#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "os/futex.hpp"

namespace shoal {

/// A page or two that a parent and its child share: the parent's word that the child may begin, and the child's on how
/// it failed.
///
/// Made before the fork; each side unmaps its own view. Kill-safety: a failure is reported whole or not at all.
class handover {
 public:
  /// @throws std::system_error  no memory.
  handover();
  handover(const handover&) = delete;
  handover& operator=(const handover&) = delete;
  ~handover();

  void let_begin() noexcept;

  /// In the child: waits to be let begin. @return false if the parent died before.
  bool wait_for_begin(int parent) const noexcept;

  struct failure {
    std::string type;
    std::string message;
  };

  /// In the child: keeps as much of both texts as there is room for.
  void report(std::string_view type, std::string_view message) noexcept;

  [[nodiscard]] std::optional<failure> reported() const;

 private:
  static constexpr std::size_t size = 16384;

  // What lies in the shared pages; zero at first.
  struct shared {
    os::futex_word may_begin;
    std::atomic<std::uint32_t> reported;  // COMMIT: a release store here makes the failure below real
    std::uint32_t type_size;
    std::uint32_t message_size;
    char text[size - 16];  // type, then message
  };
  static_assert(sizeof(shared) == size);

  shared* shared_;
};

}  // namespace shoal
