#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/map_state.hpp"
#include "shoal/detail/pool_task.hpp"
#include "shoal/detail/task_batch.hpp"
#include "shoal/pool_options.hpp"
#include "shoal/remote_error.hpp"
#include "shoal/task.hpp"
#include "shoal/worker_died.hpp"

namespace shoal {

template <class F, class Range>
class lazy_results;

/// Runs functions in a fixed number of worker processes.
///
///     shoal::pool pool;
///     shoal::task<int> lines = pool.submit(count_lines, "README.md");
///     std::vector<int> counts = pool.map(count_lines, files);
///     shoal::pool careful(4, {.max_tasks_per_worker = 100, .tasks = {.timeout = 30s, .retries = 2}});
///
/// Workers are started by the constructor, by pool_options::method. Forks see what this process's memory held at that
/// moment, through global variables too, and nothing that changed later; by the other methods they are this program,
/// executed anew, and see nothing. What a task is to know it gets as arguments, what is to be known of it it returns:
/// types that `codec` knows, and trivially copyable classes. A function is a function pointer, a pointer to a member, a
/// function object or a lambda, of the program or of a shared library. What lambdas capture must be trivially copyable,
/// and must not be a reference or a pointer, which the compiler cannot check; so workers that are no forks take only
/// lambdas without captures.
///
/// Each worker takes one task at a time, whichever is oldest. One that dies fails the task it was running, with
/// `worker_died`, and no other; a new worker takes its place. A task may end its process, fork, and make processes and
/// pools of its own. Workers die with this process, however it dies.
///
/// Threads: all members but the destructor may be called concurrently. Tasks may not use this pool: std::logic_error.
/// Construct a pool of forks before other threads where possible: replacing a worker later forks whatever threads there
/// are, see `process`. Signals: forks keep the dispositions and the mask of the thread that made the pool; Ctrl-C
/// reaches workers as it reaches this process.
class pool {
 public:
  /// As many workers as processors are usable by this process.
  pool();

  /// @throws std::invalid_argument  no workers; or an option makes no sense.
  /// @throws std::system_error      no process, thread, descriptor or memory left, or an option cannot be applied.
  ///     Nothing is left behind.
  /// @throws std::logic_error       not for start_method::fork: there is no shoal::runtime.
  explicit pool(std::size_t workers, const pool_options& options = {});
  explicit pool(const pool_options& options);  ///< as many as pool()

  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  /// Takes no more tasks, waits for those submitted, and ends the workers. To wait for none, `terminate()` first. Not
  /// to be called by what follows a task of this pool.
  ~pool();

  /// Runs invoke(f, args...) in a worker. f and args are copied; const char* and std::string_view arrive as
  /// std::string. See `task` for what becomes of it.
  ///
  /// @throws shoal::error           errc::closed: after close() or terminate(), or the pool has given up;
  ///     errc::unknown_function: f is null, or no code of the program or a shared library.
  /// @throws std::invalid_argument  the workers are no forks, and f is a lambda with captures.
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, task_options>) auto submit(F&& f, const Args&... args) {
    return submit(task_options{}, std::forward<F>(f), args...);
  }
  template <class F, class... Args>
  auto submit(const task_options& options, F&& f, const Args&... args) {
    using function = std::decay_t<F>;
    detail::check_task<function, detail::stored_t<Args>...>();
    check_can_be_sent<function, detail::stored_t<Args>...>();
    using result = std::decay_t<std::invoke_result_t<function&, detail::stored_t<Args>...>>;
    auto state = std::make_shared<detail::task_state<result>>(owner());
    encoder arguments;
    detail::ship_function<function>(arguments, f);
    (detail::ship_stored(arguments, args), ...);
    const const_bytes all = arguments.bytes();
    submit_one(detail::run_call<function, detail::stored_t<Args>...>, {&all, 1}, state, options);
    return task<result>(std::move(state));
  }

  /// Runs f(item) for each item of `range` in the workers and returns the results in the items' order; void if f
  /// returns void.
  ///
  /// Items travel in chunks, each of which is one task. Unless options.chunk_size says how long they are, there are
  /// eight for each worker, of 1,024 items at the most, which keeps the cost of a task of a microsecond away from tiny
  /// items and still lets fast workers take more chunks than slow ones; or they are of one item, if a timeout or
  /// retries are asked for, which are a chunk's. Pass 1 if items take long, or differ much.
  ///
  /// If items fail, the others are run all the same, except those behind a failed one in its chunk. Then the failure of
  /// the first such chunk is thrown, as by task::get().
  template <class F, std::ranges::input_range Range>
  auto map(F&& f, Range&& range, const map_options& options = {}) {
    using function = std::decay_t<F>;
    using item = detail::stored_t<std::ranges::range_value_t<Range>>;
    detail::check_task<function, item>();
    using result = std::decay_t<std::invoke_result_t<function&, item>>;
    return map_chunks<result, function>(f, range, options);
  }
  template <class F, std::ranges::input_range Range>
  auto map(F&& f, Range&& range, std::size_t chunk_size) {
    return map(std::forward<F>(f), std::forward<Range>(range), map_options{.chunk_size = chunk_size});
  }

  /// As map, of results that nobody wants.
  template <class F, std::ranges::input_range Range>
  void for_each(F&& f, Range&& range, const map_options& options = {}) {
    using function = std::decay_t<F>;
    detail::check_task<function, detail::stored_t<std::ranges::range_value_t<Range>>>();
    map_chunks<void, function>(f, range, options);
  }

  /// Combines init and the items of `range` by an associative operation: init op item op item... Chunks of items are
  /// combined in the workers, and what becomes of them here, in the items' order, so op need not be commutative.
  /// Failures are those of map.
  template <std::ranges::input_range Range, class T, class Op = std::plus<>>
  [[nodiscard]] T reduce(Range&& range, T init, Op op = {}, const map_options& options = {}) {
    return transform_reduce(std::forward<Range>(range), std::move(init), std::move(op), std::identity{}, options);
  }

  /// The same of f(item) instead of each item.
  template <std::ranges::input_range Range, class T, class Op, class F>
  [[nodiscard]] T transform_reduce(Range&& range, T init, Op op, F f, const map_options& options = {}) {
    using item = detail::stored_t<std::ranges::range_value_t<Range>>;
    detail::check_task<F, item>();
    detail::check_task<Op, T, T>();
    check_can_be_sent<F, item>();
    check_can_be_sent<Op, T>();
    if constexpr (!std::ranges::forward_range<Range>) {
      return transform_reduce(collect(range), std::move(init), std::move(op), std::move(f), options);
    } else {
      const auto items = static_cast<std::size_t>(std::ranges::distance(range));
      const std::size_t chunk_size = chunk_size_for(items, options);
      const std::size_t chunks = items / chunk_size + (items % chunk_size != 0 ? 1 : 0);
      const auto state = std::make_shared<detail::map_state<T>>(owner(), chunks, 1);
      const auto ship = [&](encoder& out) {
        detail::ship_function<Op>(out, op);
        detail::ship_function<F>(out, f);
      };
      run_chunks(detail::run_reduction<Op, F, item, T>, ship, range, items, chunk_size, options.tasks, state);
      std::vector<T> parts = state->take();
      for (auto&& part : parts) {
        init = static_cast<T>(std::invoke(op, std::move(init), static_cast<T>(std::move(part))));
      }
      return init;
    }
  }

  /// As map, but a range of results that come as they are read, in the items' order; of a range that may be endless.
  /// See lazy_results; include shoal/lazy_results.hpp.
  template <class F, std::ranges::input_range Range>
  [[nodiscard]] lazy_results<std::decay_t<F>, Range> map_lazily(F&& f, Range&& range, const map_options& options = {});

  [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< the number of workers

  /// Takes no more tasks. Those submitted are still run. Idempotent.
  void close();

  /// Waits until every task submitted so far has an outcome, and those submitted meanwhile.
  /// @throws std::logic_error  called by what follows a task of this pool: it would wait for itself.
  void wait();

  /// Kills the workers. Every task without an outcome fails with shoal::error, errc::closed. Idempotent.
  void terminate();

 private:
  template <class F, class Range>
  friend class lazy_results;
  class impl;

  template <class F, class... Args>
  void check_can_be_sent() const {
    if constexpr (!detail::sendable_function<F> || !(detail::sendable<Args> && ...)) {
      check_forks();
    }
  }
  void check_forks() const;

  template <class Range>
  static auto collect(Range& range) {
    std::vector<std::ranges::range_value_t<Range>> items;
    for (auto&& each : range) {
      items.push_back(std::forward<decltype(each)>(each));
    }
    return items;
  }

  template <class R, class F, class Range>
  auto map_chunks(const F& f, Range& range, const map_options& options) {
    using item = detail::stored_t<std::ranges::range_value_t<Range>>;
    check_can_be_sent<F, item>();
    if constexpr (!std::ranges::forward_range<Range>) {
      const auto items = collect(range);
      return map_chunks<R>(f, items, options);
    } else {
      const auto items = static_cast<std::size_t>(std::ranges::distance(range));
      const std::size_t chunk_size = chunk_size_for(items, options);
      const auto state = std::make_shared<detail::map_state<R>>(owner(), items, chunk_size);
      const auto ship = [&](encoder& out) { detail::ship_function<F>(out, f); };
      run_chunks(detail::run_chunk<R, F, item>, ship, range, items, chunk_size, options.tasks, state);
      return state->take();
    }
  }

  template <class Range, class Iterator>
  static void ship_chunk(encoder& out, Iterator& at, std::size_t count) {
    out.unsigned_integer(count);
    for (; count > 0; --count, ++at) {
      detail::ship_stored<std::ranges::range_value_t<Range>>(out, *at);
    }
  }

  // Submits a task for each chunk and waits for all: nothing of a call runs on after it.
  template <class Ship, class Range>
  void run_chunks(detail::task_function run, const Ship& ship, Range& range, std::size_t items, std::size_t chunk_size,
                  const task_options& options, const std::shared_ptr<detail::chunks_state>& state) {
    state->owner()->check_wait();
    std::size_t submitted = 0;
    try {
      detail::task_batch batch;
      for (auto at = std::ranges::begin(range); items > 0;) {
        const std::size_t count = std::min(items, chunk_size);
        ship(batch.arguments());
        ship_chunk<Range>(batch.arguments(), at, count);
        batch.end_task();
        items -= count;
        if (batch.is_full() || items == 0) {
          submit_batch(run, batch, *state, submitted, options);
          batch.clear();
        }
      }
    } catch (...) {
      state->wait_for(submitted);
      throw;
    }
    state->wait_for(submitted);
  }

  [[nodiscard]] std::size_t chunk_size_for(std::size_t items, const map_options& options) const;
  [[nodiscard]] std::shared_ptr<detail::task_owner> owner() const;
  void submit_one(detail::task_function run, std::span<const const_bytes> arguments,
                  std::shared_ptr<detail::completion> outcome, const task_options& options);
  void submit_batch(detail::task_function run, const detail::task_batch& batch, detail::completion& outcomes,
                    std::size_t& submitted, const task_options& options);

  impl& state() const;

  std::size_t size_;
  bool forks_;
  std::unique_ptr<impl> impl_;
};

}  // namespace shoal

#include "shoal/lazy_results.hpp"  // IWYU pragma: export
