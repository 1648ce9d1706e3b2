#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "errors.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/deadline.hpp"

namespace shoal::python {

/// The deadline of a Python timeout in seconds; None waits for ever. @throws nb::python_error  ValueError: NaN.
[[nodiscard]] inline deadline deadline_of(std::optional<double> seconds) {
  if (!seconds) {
    return forever;
  }
  if (std::isnan(*seconds)) {
    PyErr_SetString(PyExc_ValueError, "timeout is NaN, expected a number of seconds or None");
    throw nanobind::python_error();
  }
  return after(std::chrono::duration<double>(*seconds));
}

/// Gives the GIL away for as long as it lives.
class released_gil {
 public:
  released_gil() : state_(PyEval_SaveThread()) {}
  released_gil(const released_gil&) = delete;
  released_gil& operator=(const released_gil&) = delete;
  ~released_gil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      // Before 3.14 the interpreter, when it is ending, ends a daemon thread that comes back here, by unwinding its
      // stack. That would terminate the program at the next noexcept function. So the thread waits for the end, as 3.14
      // lets it.
      for (;;) {
        ::pause();
      }
    }
  }

 private:
  PyThreadState* state_;
};

/// Repeats an attempt that blocks, without the GIL, until it was not interrupted; between attempts Python's signal
/// handlers run.
/// @throws nb::python_error  what a handler raised.
template <class Attempt, class Status>
[[nodiscard]] Status wait_without_gil(Attempt attempt, Status interrupted) {
  for (;;) {
    Status status = interrupted;
    {
      const released_gil released;
      status = attempt();
    }
    if (status != interrupted) {
      return status;
    }
    run_signal_handlers();
  }
}

/// Goes on with a call on a queue that could not be done at once. One that is not to wait gives another process a tenth
/// of a second to finish what it is doing at this end of the queue.
template <class Attempt>
[[nodiscard]] queue_status wait_for_queue(Attempt attempt, deadline until) {
  const deadline limit = until == no_waiting ? after(std::chrono::milliseconds(100)) : until;
  return wait_without_gil([&] { return attempt(limit); }, queue_status::interrupted);
}

/// Whether a call that has returned `status` without waiting has to go on.
[[nodiscard]] constexpr bool goes_on(queue_status status, deadline until) {
  return status == queue_status::busy || status == queue_status::interrupted ||
         (status == queue_status::timed_out && until != no_waiting);
}

}  // namespace shoal::python
