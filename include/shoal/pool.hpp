#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <future>
#include <iterator>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/pool_task.hpp"
#include "shoal/remote_error.hpp"
#include "shoal/worker_died.hpp"

namespace shoal {

/// Runs functions in a fixed number of worker processes.
///
///     shoal::pool pool;
///     std::future<int> lines = pool.submit(count_lines, "README.md");
///     std::vector<int> counts = pool.map(count_lines, files);
///
/// Workers are forks of this process, made by the constructor: they see what its memory held at that moment, through
/// global variables too, and nothing that changed later. What a task is to know it gets as arguments, what is to be
/// known of it it returns: types that `codec` knows, and trivially copyable classes. A function is a function pointer,
/// a function object or a lambda; what lambdas capture must be trivially copyable, and must not be a reference or a
/// pointer, which the compiler cannot check.
///
/// Each worker takes one task at a time, whichever is oldest. One that dies fails the task it was running, with
/// `worker_died`, and no other; a new worker takes its place. Workers die with this process, however it dies.
///
/// Threads: all members but the destructor may be called concurrently. Tasks may not use the pool: std::logic_error.
/// Construct the pool before other threads where possible: replacing a worker later forks whatever threads there are,
/// see `process`. Signals: workers keep the dispositions and the mask of the thread that made the pool; Ctrl-C reaches
/// them as it reaches this process.
class pool {
 public:
  /// As many workers as processors are usable by this process.
  pool();

  /// @throws std::invalid_argument  no workers.
  /// @throws std::system_error      no process, thread, descriptor or memory left. Nothing is left behind.
  explicit pool(std::size_t workers);

  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  /// Takes no more tasks, waits for those submitted, and ends the workers. To wait for none, `terminate()` first.
  ~pool();

  /// Runs invoke(f, args...) in a worker. f and args are copied; const char* and std::string_view arrive as
  /// std::string.
  ///
  /// The future yields the result, or throws
  ///   remote_error   an exception left the function,
  ///   worker_died    its process ended meanwhile,
  ///   shoal::error   errc::unknown_function: f lies in a shared library loaded after the pool was made;
  ///                  errc::closed: the pool was terminated first.
  /// Unlike one of std::async, it does not wait when destroyed.
  ///
  /// @throws shoal::error  errc::closed: after close() or terminate().
  template <class F, class... Args>
  auto submit(F&& f, const Args&... args) {
    using function = std::decay_t<F>;
    detail::check_task<function, detail::stored_t<Args>...>();
    using result = std::decay_t<std::invoke_result_t<function&, detail::stored_t<Args>...>>;
    encoder task;
    detail::ship_function<function>(task, f);
    (detail::ship_stored(task, args), ...);
    return enqueue<result, detail::receive_result<result>>(detail::run_call<function, detail::stored_t<Args>...>, task);
  }

  /// Runs f(item) for each item of `range` in the workers and returns the results in the items' order; void if f
  /// returns void.
  ///
  /// Items travel in chunks of `chunk_size`, each of which is one task. 0 chooses: eight chunks for each worker, of
  /// 1,024 items at the most, which keeps the cost of a task of a few microseconds away from tiny items and still lets
  /// fast workers take more chunks than slow ones. Pass 1 if items take long, or differ much.
  ///
  /// If items fail, the others are run all the same, except those behind a failed one in its chunk. Then the failure of
  /// the first such chunk is thrown, as from a future of `submit`.
  template <class F, std::ranges::input_range Range>
  auto map(F&& f, Range&& range, std::size_t chunk_size = 0) {
    using function = std::decay_t<F>;
    using item = detail::stored_t<std::ranges::range_value_t<Range>>;
    detail::check_task<function, item>();
    using result = std::decay_t<std::invoke_result_t<function&, item>>;
    if constexpr (!std::ranges::forward_range<Range>) {
      std::vector<std::ranges::range_value_t<Range>> items;
      for (auto&& each : range) {
        items.push_back(std::forward<decltype(each)>(each));
      }
      return map(std::forward<F>(f), items, chunk_size);
    } else {
      using chunk_result = std::conditional_t<std::is_void_v<result>, void, std::vector<non_void<result>>>;
      std::vector<std::future<chunk_result>> chunks;
      auto left = static_cast<std::size_t>(std::ranges::distance(range));
      const std::size_t most = chunk_size != 0 ? chunk_size : chunk_size_for(left);
      encoder task;
      for (auto at = std::ranges::begin(range); left > 0;) {
        const std::size_t count = std::min(left, most);
        task.clear();
        detail::ship_function<function>(task, f);
        task.unsigned_integer(count);
        for (std::size_t i = 0; i < count; ++i, ++at) {
          detail::ship_stored<std::ranges::range_value_t<Range>>(task, *at);
        }
        chunks.push_back(enqueue<chunk_result, receive_chunk<result>>(detail::run_chunk<function, item>, task));
        left -= count;
      }
      return collect<result>(chunks);
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< the number of workers

  /// Takes no more tasks. Those submitted are still run. Idempotent.
  void close();

  /// Waits until every task submitted so far has an outcome, and those submitted meanwhile.
  void wait();

  /// Kills the workers. Every task without an outcome fails with shoal::error, errc::closed. Idempotent.
  void terminate();

 private:
  class impl;

  template <class R>
  using non_void = std::conditional_t<std::is_void_v<R>, char, R>;

  template <class R>
  static auto receive_chunk(decoder& in) {
    if constexpr (!std::is_void_v<R>) {
      return detail::receive_chunk<R>(in);
    }
  }

  template <class R, R (*Receive)(decoder&)>
  std::future<R> enqueue(detail::task_function run, const encoder& task) {
    auto outcome = std::make_unique<detail::promised<R, Receive>>();
    std::future<R> future = outcome->future();
    enqueue(run, task.bytes(), std::move(outcome));
    return future;
  }
  void enqueue(detail::task_function run, const_bytes arguments, std::unique_ptr<detail::completion> outcome);

  [[nodiscard]] std::size_t chunk_size_for(std::size_t items) const noexcept {
    constexpr std::size_t chunks_per_worker = 8;
    constexpr std::size_t most = 1024;
    const std::size_t chunks = size() * chunks_per_worker;
    return std::clamp<std::size_t>((items + chunks - 1) / chunks, 1, most);
  }

  // All chunks are awaited before the first failure is thrown: nothing of a call runs on after it.
  template <class R, class Chunks>
  static auto collect(Chunks& chunks) {
    for (auto& chunk : chunks) {
      chunk.wait();
    }
    if constexpr (std::is_void_v<R>) {
      for (auto& chunk : chunks) {
        chunk.get();
      }
    } else {
      std::vector<R> results;
      for (auto& chunk : chunks) {
        auto part = chunk.get();
        results.insert(results.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
      }
      return results;
    }
  }

  impl& state() const;

  std::size_t size_;
  std::unique_ptr<impl> impl_;
};

}  // namespace shoal
