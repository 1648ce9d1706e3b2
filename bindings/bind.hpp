#pragma once

#include <nanobind/nanobind.h>

// One function for each file of this folder: it adds what the file binds to the module.
namespace shoal::python {

void bind_errors(nanobind::module_& module);
void bind_codec(nanobind::module_& module);
void bind_received_buffer(nanobind::module_& module);
void bind_queue(nanobind::module_& module);
void bind_own_methods(nanobind::module_& module);
void bind_locks(nanobind::module_& module);
void bind_semaphore(nanobind::module_& module);
void bind_event(nanobind::module_& module);
void bind_condition(nanobind::module_& module);
void bind_barrier(nanobind::module_& module);
void bind_debug(nanobind::module_& module);
void bind_shared_block(nanobind::module_& module);
void bind_synchronized(nanobind::module_& module);
void bind_pool_job(nanobind::module_& module);
void bind_work_queue(nanobind::module_& module);
void bind_process(nanobind::module_& module);
void bind_process_start(nanobind::module_& module);
void bind_connection_wait(nanobind::module_& module);

}  // namespace shoal::python
