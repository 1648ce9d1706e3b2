#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "memory/segment.hpp"
#include "os/event_fd.hpp"
#include "queue/batching.hpp"
#include "queue/layout.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::queue {

/// The queue in its segment: appending, removing and recovering, each done at once; byte_queue adds the waiting.
class shared_queue {
 public:
  enum class outcome {
    done,
    not_now,  ///< full, or empty
    closed,
    busy,  ///< the lock did not come free: its holder is stopped, or many wait for it
  };

  explicit shared_queue(const queue_options& options);
  explicit shared_queue(queue_descriptors descriptors);

  // Both wait for nothing but a lock, for a tenth of a second at the most, and with no_waiting for some microseconds.
  outcome push(encoding tag, std::span<const const_bytes> parts, deadline until);
  outcome pop(record& out, std::atomic<std::uint64_t>* claim, deadline until);

  // @return false if the lock did not come free.
  bool close(deadline until);
  bool start_polling(deadline until);

  [[nodiscard]] std::uint64_t pushed() const noexcept { return control_->tail.pushed.count(); }
  [[nodiscard]] std::uint64_t popped() const noexcept { return control_->head.popped.count(); }
  [[nodiscard]] std::uint64_t size() const noexcept;
  [[nodiscard]] std::uint64_t capacity() const noexcept { return control_->capacity; }
  [[nodiscard]] std::uint64_t free_slots() const noexcept;  // of a bounded queue
  [[nodiscard]] bool is_closed() const noexcept { return control_->closed.load(std::memory_order_seq_cst) != 0; }

  [[nodiscard]] sync::event_count& items() noexcept { return control_->items; }
  [[nodiscard]] sync::event_count& space() noexcept { return control_->space; }

  [[nodiscard]] queue_descriptors descriptors() const noexcept { return {segment_.descriptor(), readiness_.get()}; }

 private:
  class guard;
  guard lock_tail(deadline until);
  guard lock_head(deadline until);
  guard spin_lock_tail();

  [[nodiscard]] chunk& chunk_at(std::uint32_t index) const noexcept { return table_[index]; }
  [[nodiscard]] chunk& checked_chunk(std::uint32_t index) const;
  [[nodiscard]] bool is_end_of_chunk(const position& at) const;

  std::uint32_t chunk_after(std::uint32_t current, std::size_t space);
  std::uint32_t grow(std::uint32_t last, std::size_t space);
  void write_record(const position& at, encoding tag, std::size_t size, std::span<const const_bytes> parts) const;
  void raise_readiness();
  void lower_readiness();
  void recover_tail();
  void recover_head();
  guard tail_guard(sync::lock_result result);

  memory::segment segment_;
  os::event_fd readiness_;
  control* control_;
  chunk* table_;
  batching room_;
  batching arrivals_;
};

}  // namespace shoal::queue
