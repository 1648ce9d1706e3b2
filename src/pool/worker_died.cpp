#include "shoal/worker_died.hpp"

#include <csignal>

namespace shoal {
namespace {

std::string text(std::uint64_t task, pid_t worker, const std::optional<exit_status>& status, const std::string& how) {
  std::string text =
      "task " + std::to_string(task) + " was running in worker process " + std::to_string(worker) + " when that " + how;
  if (status && status->signal() == SIGKILL) {
    text += "; if nobody killed it, the machine or its container was out of memory";
  }
  if (status && status->exited()) {
    text += "; a task must return or throw, not exit";
  }
  return text + ". Other tasks go on; this one may have done part of its work.";
}

}  // namespace

worker_died::worker_died(std::uint64_t task, pid_t worker, std::optional<exit_status> status, const std::string& how)
    : std::runtime_error(text(task, worker, status, how)), task_(task), worker_(worker), status_(status) {}

}  // namespace shoal
