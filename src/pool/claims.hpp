#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "memory/segment.hpp"

namespace shoal {

/// One word of shared memory for each slot of a work_queue: what the slot's worker has taken last, as ticket plus one;
/// 0: nothing.
///
/// byte_queue::pop writes the word just before the removal becomes real, so after a worker's death its claim is
/// *valid*, that is, the task is gone from the queue, only if as many tasks were popped as it says. Otherwise the
/// worker died in between.
class claims {
 public:
  using word = std::atomic<std::uint64_t>;
  static_assert(word::is_always_lock_free);

  static claims create(std::size_t slots, const std::string& label);
  static claims attach(int descriptor);

  [[nodiscard]] std::size_t slots() const noexcept { return slots_; }
  [[nodiscard]] int descriptor() const noexcept { return segment_.descriptor(); }

  /// @throws std::out_of_range  no such slot.
  [[nodiscard]] word& of(std::size_t slot) const;

 private:
  claims(memory::segment segment, std::size_t slots) : segment_(std::move(segment)), slots_(slots) {}

  memory::segment segment_;
  std::size_t slots_;
};

}  // namespace shoal
