#pragma once

#include <nanobind/nanobind.h>

#include "shoal/byte_queue.hpp"

namespace shoal::python {

/// A Python Lease of the object in the record. Needs the GIL.
/// @throws nb::python_error  what unpickling raises; the record is then acknowledged, since it would fail ever again.
[[nodiscard]] nanobind::object make_lease(lease taken);

}  // namespace shoal::python
