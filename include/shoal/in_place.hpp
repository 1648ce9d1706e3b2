#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <utility>

#include "shoal/byte_queue.hpp"

namespace shoal {

template <class T, class Format>
class queue;

/// A T that was taken out of a `queue<T>` and, if it is large, left in shared memory; see `borrowed_record`. Nobody
/// else writes to it; the holder may.
template <class T>
class borrowed {
 public:
  [[nodiscard]] T& operator*() noexcept { return *object_; }
  [[nodiscard]] const T& operator*() const noexcept { return *object_; }
  [[nodiscard]] T* operator->() noexcept { return object_; }
  [[nodiscard]] const T* operator->() const noexcept { return object_; }

  borrowed(borrowed&& other) noexcept
      : record_(std::move(other.record_)), object_(std::exchange(other.object_, nullptr)) {}
  borrowed& operator=(borrowed&& other) noexcept {
    record_ = std::move(other.record_);
    object_ = std::exchange(other.object_, nullptr);
    return *this;
  }
  ~borrowed() = default;

 private:
  template <class, class>
  friend class queue;
  borrowed(borrowed_record record, T* object) noexcept : record_(std::move(record)), object_(object) {}

  borrowed_record record_;
  T* object_;
};

/// Room for a T in shared memory, to be filled in place and then pushed; see `reserved_record`. Its members have no
/// values until they are given some.
template <class T>
class reserved {
 public:
  [[nodiscard]] T& operator*() noexcept { return *object(); }
  [[nodiscard]] T* operator->() noexcept { return object(); }

 private:
  template <class, class>
  friend class queue;
  explicit reserved(reserved_record record) noexcept : record_(std::move(record)) {}
  [[nodiscard]] T* object() noexcept { return std::launder(reinterpret_cast<T*>(record_.bytes().data())); }

  reserved_record record_;
};

/// A T taken on lease: unless it is acknowledged, it comes back to the front of its queue when this object, or its
/// process, ends; see `lease`.
template <class T>
class leased {
 public:
  [[nodiscard]] T& operator*() noexcept { return value_; }
  [[nodiscard]] const T& operator*() const noexcept { return value_; }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }

  /// The value is done with. @return false if it is so already, or was given back.
  bool acknowledge() noexcept { return lease_.acknowledge(); }

  /// The value goes back to the front of the queue now; changes made to it here do not.
  void give_back() {
    while (lease_.give_back() != queue_status::ok) {
    }
  }

  [[nodiscard]] bool active() const noexcept { return lease_.active(); }

 private:
  template <class, class>
  friend class queue;
  leased(lease taken, T value) noexcept(std::is_nothrow_move_constructible_v<T>)
      : lease_(std::move(taken)), value_(std::move(value)) {}

  lease lease_;
  T value_;
};

}  // namespace shoal
