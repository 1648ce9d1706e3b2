#pragma once

// What a worker process of a pool is started with, and does.

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "shoal/detail/process_call.hpp"
#include "shoal/process.hpp"
#include "shoal/work_queue.hpp"

namespace shoal::detail {

void send_location(outgoing_parcel& out, const work_queue_descriptors& descriptors);
void receive_location(incoming_parcel& in, work_queue_descriptors& descriptors);

struct worker_settings {
  std::uint64_t slot = 0;
  std::uint64_t max_tasks = 0;   // then it ends; 0: never
  std::uint64_t max_memory = 0;  // its limit, for messages; 0: none
  pid_t starter = 0;
  bool is_fork = true;
  sigset_t signal_mask{};  // of a fork: that of the thread that made the pool
};

/// What comes before the initializer.
void prepare_worker(const worker_settings& settings);

/// Runs tasks until there are no more, or enough of them were run.
void work(work_queue& tasks, const worker_settings& settings);

/// What a worker fails with whose initializer threw the exception being handled.
class initializer_failed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
[[noreturn]] void throw_initializer_failed();

template <class F, class... Args, class... Parameters>
void call_initializer(type_list<Parameters...> /*types*/, F& function, arrival_t<Args>&... each) {
  std::invoke(std::move(function), static_cast<Parameters>(each)...);
}

/// The function of a worker's process.
template <class F, class... Args>
void initialize_and_work(work_queue& tasks, const worker_settings& settings, F function, arrival_t<Args>... each) {
  prepare_worker(settings);
  try {
    call_initializer<F, Args...>(parameters_t<F, Args...>{}, function, each...);
  } catch (...) {
    throw_initializer_failed();
  }
  work(tasks, settings);
}
void prepare_and_work(work_queue& tasks, const worker_settings& settings);

}  // namespace shoal::detail
