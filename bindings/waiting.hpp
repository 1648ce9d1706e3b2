#pragma once

#include <nanobind/nanobind.h>

#include <optional>

#include "errors.hpp"
#include "shoal/deadline.hpp"

namespace shoal::python {

/// The deadline of a Python timeout in seconds; None waits for ever.
[[nodiscard]] inline deadline deadline_of(std::optional<double> seconds) {
  return seconds ? after(std::chrono::duration<double>(*seconds)) : forever;
}

/// Repeats an attempt that blocks, without the GIL, until it was not interrupted; between attempts Python's signal handlers run.
/// @throws nb::python_error  what a handler raised.
template <class Attempt, class Status>
[[nodiscard]] Status wait_without_gil(Attempt attempt, Status interrupted) {
  for (;;) {
    Status status = interrupted;
    {
      const nanobind::gil_scoped_release released;
      status = attempt();
    }
    if (status != interrupted) {
      return status;
    }
    run_signal_handlers();
  }
}

}  // namespace shoal::python
