#pragma once

#include <nanobind/nanobind.h>

// One function for each file of this folder: it adds what the file binds to the module.
namespace shoal::python {

void bind_errors(nanobind::module_& module);
void bind_codec(nanobind::module_& module);
void bind_received_buffer(nanobind::module_& module);
void bind_queue(nanobind::module_& module);
void bind_synchronize(nanobind::module_& module);
void bind_work_queue(nanobind::module_& module);
void bind_process(nanobind::module_& module);

}  // namespace shoal::python
