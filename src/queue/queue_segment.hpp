#pragma once

#include "memory/segment.hpp"
#include "os/event_fd.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::queue {

/// The segment of a queue, mapped in this process, and its share of the address space.
///
/// It is mapped once, at the largest size it may grow to. Address space is plentiful but not endless: the first queues
/// of a process may each grow to four times the machine's memory, so that no mix of sizes runs out of it; those after
/// the first some hundred to 8 GiB, after the first some thousand to 1 GiB.
class queue_segment {
 public:
  /// @throws std::system_error  no descriptor, memory or address space left. @throws std::invalid_argument  max_bytes.
  explicit queue_segment(const queue_options& options);

  /// @throws shoal::error  not the segment of a queue, or damaged.
  explicit queue_segment(int descriptor);

  queue_segment(const queue_segment&) = delete;
  queue_segment& operator=(const queue_segment&) = delete;
  ~queue_segment();

  [[nodiscard]] const memory::segment& operator*() const noexcept { return memory_; }
  [[nodiscard]] const memory::segment* operator->() const noexcept { return &memory_; }

 private:
  memory::segment memory_;
};

/// A second descriptor for an eventfd that was inherited or received. @throws shoal::error  it is none.
[[nodiscard]] os::event_fd attach_event_fd(int descriptor, const char* which);

}  // namespace shoal::queue
