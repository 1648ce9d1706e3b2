#pragma once

#include <poll.h>

#include <concepts>

namespace shoal {

class event;

namespace sync {
class flag;
}

namespace detail {

/// A process, a queue, a task: what has a descriptor that polls readable when it is ready.
template <class T>
concept polls_by_handle = requires(T& object) {
  { object.native_handle() } -> std::same_as<int>;
};

}  // namespace detail

/// What can be waited for beside others: see `wait_any` and `wait_set`.
///
/// | made of          | ready when                                                               |
/// |------------------|--------------------------------------------------------------------------|
/// | a process        | it has ended; not joined yet                                             |
/// | a queue          | it has an item, or is closed: `try_pop` will tell                        |
/// | room_of(queue)   | it has room, or is closed: `try_push` will tell                          |
/// | an event         | it is set                                                                |
/// | a pool's task    | its outcome is there, whatever that is                                   |
/// | lazy results     | the next need not be waited for                                          |
/// | a wait_set       | an object in it is ready                                                 |
/// | a descriptor     | it polls so: readable if nothing else is asked for; also at an error or hang-up |
///
/// Refers to what it is made of, which must not be destroyed, joined or closed before the wait has ended. Threads: as
/// any value.
class waitable {
 public:
  /// @throws std::invalid_argument  the object is no process any more. @throws what its native_handle() throws.
  template <detail::polls_by_handle T>
  waitable(T& object) : waitable(object.native_handle()) {}  // NOLINT(google-explicit-constructor)

  /// @throws std::system_error  no descriptor left, now, or few when the process forked.
  waitable(event& object);  // NOLINT(google-explicit-constructor)

  /// `events`: POLLIN, POLLOUT or both.
  /// @throws std::invalid_argument  it is below zero.
  waitable(int descriptor, short events = POLLIN);  // NOLINT(google-explicit-constructor)

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] short events() const noexcept { return events_; }

  /// Whether it is ready, of which the descriptor says so. That of an event may be a moment ahead of the event.
  [[nodiscard]] bool confirmed() const noexcept;

 private:
  int descriptor_;
  short events_ = POLLIN;
  const sync::flag* flag_ = nullptr;  // where the event is that this was made of; stays when the event is moved
};

/// Room in a queue that has a bound. @throws std::logic_error  it has none, so there is always room.
template <class Queue>
requires requires(Queue& queue) {
  { queue.room_handle() } -> std::same_as<int>;
}
[[nodiscard]] waitable room_of(Queue& queue) { return {queue.room_handle()}; }

}  // namespace shoal
