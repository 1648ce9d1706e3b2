#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <cstddef>
#include <utility>

#include "codec.hpp"
#include "shoal/byte_queue.hpp"
#include "waiting.hpp"

namespace shoal::python {

/// shoal._core.Queue: a byte_queue of Python objects, and what is known of this handle on it. Needs the GIL, which
/// waiting calls release; they run Python's signal handlers, and throw nb::python_error if one raises.
class object_queue {
 public:
  explicit object_queue(byte_queue queue) : queue_(std::move(queue)) {}

  byte_queue& bytes() noexcept { return queue_; }
  [[nodiscard]] bool bounded() const noexcept { return queue_.capacity() != 0 || queue_.capacity_bytes() != 0; }

  [[nodiscard]] bool closed() const noexcept { return closed_; }
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool used() const noexcept { return used_; }  ///< whether something was put through this handle

  /// @return ok, timed_out (it stayed full) or closed. Nobody else may use `encoded` meanwhile.
  queue_status push(const encoded_object& encoded, deadline until);

  /// Makes a call that copies about `size` bytes into the queue. @return as push.
  template <class Push>
  queue_status push_and_wait(Push push, std::size_t size, deadline until) {
    queue_status status = queue_status::busy;
    if (size < long_copy) {
      status = push(no_waiting);
    } else {
      const released_gil released;
      status = push(no_waiting);
    }
    if (goes_on(status, until)) {
      do {
        status = wait_for_queue(push, until);
        // A queue without bound is never full: somebody is at work there still.
      } while (status == queue_status::timed_out && until == no_waiting && !bounded());
    }
    used_ = used_ || status == queue_status::ok;
    return status;
  }

  /// @return ok, timed_out (it stayed empty) or closed. @throws nb::python_error  what unpickling raises; the item is
  /// lost.
  queue_status get(nanobind::object& out, deadline until);

  /// As get; `out` becomes a Lease.
  queue_status get_on_lease(nanobind::object& out, deadline until);

 private:
  // Copying as much takes so long that other threads should run meanwhile.
  static constexpr std::size_t long_copy = 1 << 20;

  byte_queue queue_;
  bool closed_ = false;
  bool used_ = false;
};

/// Makes a call on a queue: at once and with the GIL, since that is mostly enough; if it has to wait, without the GIL.
template <class Attempt>
[[nodiscard]] queue_status attempt_and_wait(Attempt attempt, deadline until) {
  queue_status status = attempt(no_waiting);
  if (goes_on(status, until)) {
    status = wait_for_queue(attempt, until);
  }
  return status;
}

/// The queue in `self`. @throws nb::python_error  ValueError: this handle was closed.
object_queue& usable_queue(PyObject* self);

/// Raise what a call on a queue ended with, and return null.
PyObject* raise_full();
PyObject* raise_empty();
PyObject* raise_put_after_shutdown();
PyObject* raise_get_after_shutdown();

void bind_queue_batches(nanobind::handle queue_type);
void bind_lease(nanobind::module_& module);

}  // namespace shoal::python
