#include "sync/cpu.hpp"

#include <sched.h>

namespace shoal::sync {

bool has_several_cpus() noexcept {
  static const bool several = [] {
    cpu_set_t usable;
    // Fails only on machines with more processors than cpu_set_t holds.
    return ::sched_getaffinity(0, sizeof usable, &usable) != 0 || CPU_COUNT(&usable) > 1;
  }();
  return several;
}

}  // namespace shoal::sync
