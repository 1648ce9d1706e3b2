#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "shoal/detail/guarded_memory.hpp"

namespace shoal {

/// An array of T in memory that processes share, and a mutex to guard it. Its size is fixed.
///
/// A contiguous range of plain references: `a[i]`, algorithms and `std::span<T>` work as with a std::vector, and take
/// no lock. Pages that nobody has written to take no memory.
///
/// What T must be, threads, fork, other processes, kill-safety: as shared_value.
/// Meets: std::ranges::contiguous_range, std::ranges::sized_range. Movable; moved from, it can only be assigned to or
/// destroyed.
template <class T>
class shared_array {
  static_assert(detail::may_be_shared<T>,
                "shared_array<T> needs a trivially copyable T, aligned to at most 64 bytes: its bytes are all that "
                "another process sees. Share structs of numbers and arrays, not of pointers, strings or vectors.");

 public:
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using const_reference = const T&;
  using iterator = T*;
  using const_iterator = const T*;
  using native_handle_type = shared_handle;

  /// `size` value-initialised objects. @param label  of the mutex, shown where locks are listed.
  /// @throws std::bad_alloc, std::system_error  no descriptor or memory left.
  explicit shared_array(std::size_t size, std::string_view label = {}) requires std::default_initializable<T>
      : memory_(sizeof(T), size, label) {
    if constexpr (!std::is_trivially_default_constructible_v<T>) {  // or zero, as the memory is
      std::uninitialized_value_construct_n(data(), size);
    }
  }

  /// Copies of what is in a range. @throws  as above, and what reading the range throws.
  template <std::ranges::forward_range Range>
  requires(std::convertible_to<std::ranges::range_reference_t<Range>, T> &&
           !std::same_as<std::remove_cvref_t<Range>, shared_array>) explicit shared_array(const Range& values,
                                                                                          std::string_view label = {})
      : memory_(sizeof(T), static_cast<std::size_t>(std::ranges::distance(values)), label) {
    std::ranges::transform(values, data(), [](const auto& value) { return static_cast<T>(value); });
  }
  shared_array(std::initializer_list<T> values, std::string_view label = {})
      : memory_(sizeof(T), values.size(), label) {
    std::uninitialized_copy(values.begin(), values.end(), data());
  }

  /// The one that another process has sent the handle of; its descriptors are those for the same files here.
  /// @throws shoal::error       there is none, or one of objects of another size.
  /// @throws std::system_error  a descriptor is not open.
  explicit shared_array(const native_handle_type& handle) : memory_(handle, sizeof(T), 0) {}

  [[nodiscard]] T& operator[](std::size_t index) noexcept { return data()[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return data()[index]; }

  /// @throws std::out_of_range  there is no such element.
  [[nodiscard]] T& at(std::size_t index) { return data()[checked(index)]; }
  [[nodiscard]] const T& at(std::size_t index) const { return data()[checked(index)]; }

  [[nodiscard]] std::size_t size() const noexcept { return memory_.count(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] T* data() noexcept { return std::launder(reinterpret_cast<T*>(memory_.data())); }
  [[nodiscard]] const T* data() const noexcept { return std::launder(reinterpret_cast<const T*>(memory_.data())); }
  [[nodiscard]] iterator begin() noexcept { return data(); }
  [[nodiscard]] iterator end() noexcept { return data() + size(); }
  [[nodiscard]] const_iterator begin() const noexcept { return data(); }
  [[nodiscard]] const_iterator end() const noexcept { return data() + size(); }

  /// Atomic access to an element, for all processes: to be used for all accesses that may happen at the same time.
  [[nodiscard]] std::atomic_ref<T> atomic(std::size_t index) noexcept
      requires(std::atomic_ref<T>::is_always_lock_free&& std::atomic_ref<T>::required_alignment <= alignof(T)) {
    return std::atomic_ref<T>((*this)[index]);
  }

  /// The mutex that guards it, by convention of those who use it.
  [[nodiscard]] recursive_mutex& mutex() noexcept { return memory_.mutex(); }

  /// For another process. Afterwards the memory is not used for anything else.
  [[nodiscard]] native_handle_type native_handle() noexcept { return memory_.native_handle(); }

 private:
  [[nodiscard]] std::size_t checked(std::size_t index) const {
    if (index >= size()) {
      throw std::out_of_range("index " + std::to_string(index) + " of a shared_array of " + std::to_string(size()));
    }
    return index;
  }

  detail::guarded_memory memory_;
};

}  // namespace shoal
