#pragma once

#include <nanobind/nanobind.h>

namespace shoal::python {

/// Turns the C++ exception being handled into the Python one; for functions that CPython calls without nanobind in
/// between.
void set_error_from_current_exception() noexcept;

/// The exception for a queue that was shut down: queue.ShutDown where Python has it, shoal's own before 3.13.
[[nodiscard]] PyObject* shut_down_exception() noexcept;

/// Runs the Python handlers of signals that have arrived. @throws nb::python_error  what a handler raised.
void run_signal_handlers();

}  // namespace shoal::python
