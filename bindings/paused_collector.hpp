#pragma once

#include <Python.h>

namespace shoal::python {

/// Keeps the garbage collector from starting for as long as it lives. Up to Python 3.11 making a list, a dict or the
/// like may start it, and so run finalizers in the middle of code that relies on nothing being changed; later it starts
/// between bytecodes only. Needs the GIL.
class paused_collector {
 public:
  paused_collector() : was_enabled_(starts_anywhere && PyGC_Disable() != 0) {}
  paused_collector(const paused_collector&) = delete;
  paused_collector& operator=(const paused_collector&) = delete;
  ~paused_collector() {
    if (was_enabled_) {
      PyGC_Enable();
    }
  }

 private:
  static constexpr bool starts_anywhere = PY_VERSION_HEX < 0x030C0000;

  bool was_enabled_;
};

}  // namespace shoal::python
