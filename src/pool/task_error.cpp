#include "shoal/task_error.hpp"

#include <sstream>

namespace shoal {
namespace {

std::string in_seconds(std::chrono::nanoseconds time) {
  std::ostringstream text;
  text << std::chrono::duration<double>(time).count() << " s";
  return text.str();
}

}  // namespace

task_cancelled::task_cancelled(std::uint64_t task)
    : std::runtime_error("task " + std::to_string(task) + " was cancelled.") {}

task_timed_out::task_timed_out(std::uint64_t task, std::chrono::nanoseconds timeout)
    : std::runtime_error("task " + std::to_string(task) + " ran for longer than its timeout of " + in_seconds(timeout) +
                         ", so its worker was killed. Other tasks go on; this one may have done part of its work."),
      task_(task),
      timeout_(timeout) {}

memory_limit_exceeded::memory_limit_exceeded(std::uint64_t task, std::size_t limit)
    : text_(std::make_shared<const std::string>(
          "task " + std::to_string(task) + " needed more memory than the " + std::to_string(limit) +
          " bytes that a worker of its pool may have (pool_options::max_memory).")) {}

}  // namespace shoal
