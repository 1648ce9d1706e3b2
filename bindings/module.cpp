#include <nanobind/nanobind.h>

#include "bind.hpp"
#include "shoal/version.hpp"

NB_MODULE(_core, module) {
  using namespace shoal::python;
  // An interpreter that ends with daemon threads still waiting in a call cannot free what they use; that is no leak of
  // ours.
  nanobind::set_leak_warnings(false);
  module.doc() = "The native core: handles on shared objects, without Python-level conveniences.";
  module.attr("__version__") = SHOAL_VERSION;
  bind_errors(module);
  bind_codec(module);
  bind_received_buffer(module);
  bind_queue(module);
  bind_own_methods(module);
  bind_locks(module);
  bind_semaphore(module);
  bind_event(module);
  bind_condition(module);
  bind_barrier(module);
  bind_debug(module);
  bind_shared_block(module);
  bind_synchronized(module);
  bind_pool_job(module);
  bind_work_queue(module);
  bind_process(module);
  bind_process_start(module);
  bind_connection_wait(module);
}
