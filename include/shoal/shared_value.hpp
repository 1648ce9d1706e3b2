#pragma once

#include <atomic>
#include <concepts>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>

#include "shoal/detail/guarded_memory.hpp"

namespace shoal {

/// A T in memory that processes share, and a mutex to guard it.
///
///     shoal::shared_value<account> shared(account{.balance = 100});
///     ...
///     const std::scoped_lock lock(shared.mutex());  // in any process
///     shared->balance -= 10;
///
/// `*shared` is a plain reference: reading and writing through it takes no lock. Small counters need none:
/// `shared.atomic().fetch_add(1)`.
///
/// T is trivially copyable, and means the same in every process: no pointers to what is not shared. Its destructor is
/// not run; memory ends with the last process that has it.
///
/// Threads: the members may be called concurrently; the T is like any other. fork: the child shares it. Other
/// processes: construct one from native_handle(). It takes no descriptor of its own. Kill-safety: what a killed process
/// had half written stays half written; who then locks the mutex is told (see recursive_mutex). Movable; moved from, it
/// can only be assigned to or destroyed.
template <class T>
class shared_value {
  static_assert(detail::may_be_shared<T>,
                "shared_value<T> needs a trivially copyable T, aligned to at most 64 bytes: its bytes are all that "
                "another process sees. Share a struct of numbers and arrays, not one of pointers, strings or vectors.");

 public:
  using value_type = T;
  using native_handle_type = shared_handle;

  /// A value-initialised T. @param label  of the mutex, shown where locks are listed.
  /// @throws std::bad_alloc, std::system_error  no descriptor or memory left.
  explicit shared_value(std::string_view label = {}) requires std::default_initializable<T>
      : memory_(sizeof(T), 1, label) {
    new (memory_.data()) T();
  }

  /// A copy of `value`. @throws  as above.
  explicit shared_value(const T& value, std::string_view label = {}) : memory_(sizeof(T), 1, label) {
    new (memory_.data()) T(value);
  }

  /// The one that another process has sent the handle of; its descriptors are those for the same files here.
  /// @throws shoal::error       there is none, or one of a type of another size.
  /// @throws std::system_error  a descriptor is not open.
  explicit shared_value(const native_handle_type& handle) : memory_(handle, sizeof(T), 1) {}

  [[nodiscard]] T& operator*() noexcept { return get(); }
  [[nodiscard]] const T& operator*() const noexcept { return get(); }
  [[nodiscard]] T* operator->() noexcept { return &get(); }
  [[nodiscard]] const T* operator->() const noexcept { return &get(); }
  [[nodiscard]] T& get() noexcept { return *std::launder(reinterpret_cast<T*>(memory_.data())); }
  [[nodiscard]] const T& get() const noexcept { return *std::launder(reinterpret_cast<const T*>(memory_.data())); }

  /// Atomic access, for all processes: to be used for all accesses that may happen at the same time.
  [[nodiscard]] std::atomic_ref<T> atomic() noexcept requires std::atomic_ref<T>::is_always_lock_free {
    static_assert(std::atomic_ref<T>::required_alignment <= 64);
    return std::atomic_ref<T>(get());
  }

  /// The mutex that guards it, by convention of those who use it.
  [[nodiscard]] recursive_mutex& mutex() noexcept { return memory_.mutex(); }

  /// For another process. Afterwards the memory is not used for anything else.
  [[nodiscard]] native_handle_type native_handle() noexcept { return memory_.native_handle(); }

 private:
  detail::guarded_memory memory_;
};

}  // namespace shoal
