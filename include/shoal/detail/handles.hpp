#pragma once

// How objects in shared memory travel to a process that is no fork of this one: as their descriptors.

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include "shoal/byte_queue.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/guarded_memory.hpp"
#include "shoal/detail/parcel.hpp"

namespace shoal::detail {

void send_location(outgoing_parcel& out, const slot_location& location);
[[nodiscard]] slot_location receive_location(incoming_parcel& in);
void send_location(outgoing_parcel& out, const shared_handle& handle);
void receive_location(incoming_parcel& in, shared_handle& handle);
void send_location(outgoing_parcel& out, const queue_descriptors& descriptors);
void receive_location(incoming_parcel& in, queue_descriptors& descriptors);

inline void receive_location(incoming_parcel& in, slot_location& location) { location = receive_location(in); }

// Locks, events, values, arrays: an object that another process makes from native_handle().
template <class T>
concept has_native_handle = requires(T& object, const typename T::native_handle_type& handle) {
  requires std::same_as<typename T::native_handle_type, slot_location> ||
      std::same_as<typename T::native_handle_type, shared_handle>;
  { object.native_handle() } -> std::same_as<typename T::native_handle_type>;
  T(handle);
};

// Queues, which are made of several memories and eventfds.
template <class T>
concept has_queue_descriptors = requires(const T& object) {
  { T::attach(object.descriptors()) } -> std::same_as<T>;
};

// What is a descriptor and nothing else.
template <class T>
concept has_descriptor = requires(const T& object) {
  { object.descriptor() } -> std::same_as<int>;
  { T::attach_descriptor(0) } -> std::same_as<T>;
};

/// A class of which another process can have an object that refers to the same shared memory.
template <class T>
concept shared_object = has_native_handle<T> || has_queue_descriptors<T> || has_descriptor<T>;

template <shared_object T>
void send_object(outgoing_parcel& out, T& object) {
  if constexpr (has_queue_descriptors<T>) {
    send_location(out, object.descriptors());
  } else if constexpr (has_descriptor<T>) {
    out.add_descriptor(object.descriptor());
  } else {
    send_location(out, object.native_handle());
  }
}

template <shared_object T>
T receive_object(incoming_parcel& in) {
  if constexpr (has_queue_descriptors<T>) {
    decltype(std::declval<T&>().descriptors()) descriptors;
    receive_location(in, descriptors);
    return T::attach(descriptors);
  } else if constexpr (has_descriptor<T>) {
    return T::attach_descriptor(in.take_descriptor());
  } else {
    typename T::native_handle_type handle;
    receive_location(in, handle);
    return T(handle);
  }
}

/// Another object that refers to the same shared memory, in the same process.
template <shared_object T>
T second_object(T& object) {
  if constexpr (has_queue_descriptors<T>) {
    return T::attach(object.descriptors());
  } else if constexpr (has_descriptor<T>) {
    return T::attach_descriptor(object.descriptor());
  } else {
    return T(object.native_handle());
  }
}

template <class T>
inline constexpr bool is_shared_reference = false;
template <class T>
inline constexpr bool is_shared_reference<std::reference_wrapper<T>> = shared_object<std::remove_const_t<T>>;

}  // namespace shoal::detail
