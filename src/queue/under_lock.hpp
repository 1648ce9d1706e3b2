#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "queue/shared_queue.hpp"

// What shared_queue works with while it holds its locks.
namespace shoal::queue {

// Bytes copied under one lock, roughly.
inline constexpr std::size_t most_copied = 256 * 1024;

constexpr bool is_large(std::size_t size) { return size >= byte_queue::large; }

// Holds one of the two locks, if the attempt succeeded.
class shared_queue::guard {
 public:
  guard() = default;
  guard(sync::robust_mutex& mutex, sync::lock_result result)
      : mutex_(result == sync::lock_result::timed_out ? nullptr : &mutex) {}
  guard(guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
  guard& operator=(guard&&) = delete;
  ~guard() {
    if (mutex_ != nullptr) {
      mutex_->unlock();
    }
  }
  explicit operator bool() const noexcept { return mutex_ != nullptr; }

 private:
  sync::robust_mutex* mutex_ = nullptr;
};

// Both locks, or neither.
struct shared_queue::both {
  guard tail;
  guard head;
  explicit operator bool() const noexcept { return static_cast<bool>(tail) && static_cast<bool>(head); }
};

// The record that comes next.
struct shared_queue::front {
  position at{};    // where it is
  position next{};  // what comes after it
  encoding tag = encoding::raw;
  std::byte* bytes = nullptr;
  std::size_t size = 0;
  std::optional<std::uint32_t> returned;  // the entry in the ledger, if it comes back from a lease
};

}  // namespace shoal::queue
