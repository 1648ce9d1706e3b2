#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/pool_worker.hpp"
#include "shoal/process_options.hpp"

namespace shoal {

/// A function that each worker of a pool calls, with these arguments, before its first task:
///
///     shoal::pool pool(4, {.initializer = {open_database, "orders.db"}});
///
/// Function and arguments are copied; what they may be is as with `process`. Objects in shared memory go by std::ref:
/// they have to exist as long as the pool, and what arrives lasts as long as the worker. If it throws, the pool gives
/// up: every task fails with an error that says so.
class worker_initializer {
 public:
  worker_initializer() = default;  ///< none

  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, worker_initializer>)
      worker_initializer(F&& f, Args&&... args) {  // NOLINT(google-explicit-constructor)
    using function = std::decay_t<F>;
    static_assert(!std::is_void_v<detail::parameters_t<function, std::decay_t<Args>...>>,
                  "shoal: the initializer cannot be called with these arguments, text as std::string");
    start_ = [function = function(std::forward<F>(f)), ... kept = std::decay_t<Args>(std::forward<Args>(args))](
                 const process_options& options, work_queue& tasks, const detail::worker_settings& settings) {
      return process(options, &detail::initialize_and_work<std::decay_t<F>, std::decay_t<Args>...>, std::ref(tasks),
                     settings, function, kept...);
    };
  }

  explicit operator bool() const noexcept { return start_ != nullptr; }  ///< whether there is one

  /// For the pool: starts a worker that calls it.
  [[nodiscard]] process start(const process_options& options, work_queue& tasks,
                              const detail::worker_settings& settings) const;

 private:
  std::function<process(const process_options&, work_queue&, const detail::worker_settings&)> start_;
};

/// How tasks are run. What is not said is as the pool's options say.
struct task_options {
  /// How long a task may run, not counting how long it waits for a worker. Then its worker is killed, and the task
  /// fails with task_timed_out.
  std::optional<std::chrono::nanoseconds> timeout{};

  /// How often a task is run again after its worker died, or if `retry_if` says so. It may have done part of its work
  /// each time.
  std::optional<std::size_t> retries{};

  /// Whether a failed task is to be run again, by what would be thrown; none: if its worker died. Called in a thread of
  /// the pool's; must not throw.
  std::function<bool(const std::exception_ptr&)> retry_if{};
};

/// How map and its kin run their tasks, each of which is a chunk of items.
struct map_options {
  std::size_t chunk_size = 0;  ///< items in a task; 0: chosen, see pool::map
  std::size_t in_flight = 0;   ///< map_lazily: tasks submitted ahead of what is being read; 0: four for each worker
  task_options tasks{};
};

/// What the workers of a pool are to be, and how its tasks are run if they do not say otherwise.
struct pool_options {
  std::optional<start_method> method{};  ///< how workers are started; none: get_start_method()
  worker_initializer initializer{};
  std::size_t max_tasks_per_worker = 0;  ///< a worker is replaced after so many tasks; 0: never
  task_options tasks{};
  std::string name = "pool";                     ///< of the processes, as ps and top show it, a number behind it
  std::vector<std::vector<int>> cpu_affinity{};  ///< the CPUs of each worker; with fewer than workers they go round
  std::optional<int> nice{};                     ///< as in process_options
  std::optional<std::size_t> max_memory{};  ///< of each worker, as in process_options; beyond: memory_limit_exceeded
};

}  // namespace shoal
