#include "pool/processors.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace shoal {

std::size_t usable_processors() {
  cpu_set_t usable;
  if (::sched_getaffinity(0, sizeof usable, &usable) == 0) {
    return static_cast<std::size_t>(std::max(CPU_COUNT(&usable), 1));
  }
  // More processors than cpu_set_t has bits for.
  return static_cast<std::size_t>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

}  // namespace shoal
