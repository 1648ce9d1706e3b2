#pragma once

#include <cstddef>

#include "shoal/work_queue.hpp"

namespace shoal {

/// What a worker process of a pool does: runs tasks until there are no more.
void work(work_queue& tasks, std::size_t slot);

}  // namespace shoal
