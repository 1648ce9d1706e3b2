#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/relay.hpp"
#include "shoal/pool.hpp"

namespace shoal {

/// The results of a function for the items of a range, which may be endless; made by pool::map_lazily.
///
///     for (const page& each : pool.map_lazily(fetch, addresses)) ...
///
/// An input range: read it once, in one thread. Results come in the items' order. Only so many items are taken from the
/// range ahead of what is being read as options.in_flight says, in tasks of options.chunk_size items (0: 1).
/// native_handle() is for event loops, which read as long as it is readable.
///
/// A result that failed is thrown by begin() or ++, as by task::get(); what follows it can still be read by ++. If it
/// is destroyed before the end, tasks that were submitted are run all the same. Refers to a range given as an lvalue,
/// and to the pool.
template <class F, class Range>
class lazy_results {
 public:
  using value_type = std::decay_t<std::invoke_result_t<F&, detail::stored_t<std::ranges::range_value_t<Range>>>>;
  static_assert(!std::is_void_v<value_type>, "shoal: the function has no result. Use pool::for_each");

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = lazy_results::value_type;
    using difference_type = std::ptrdiff_t;

    iterator() = default;
    value_type& operator*() const { return results_->chunk_[results_->read_]; }
    value_type* operator->() const { return &**this; }
    iterator& operator++() {
      results_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t /*end*/) const { return results_->is_at_end(); }

   private:
    friend lazy_results;
    explicit iterator(lazy_results& results) : results_(&results) {}
    lazy_results* results_ = nullptr;
  };

  lazy_results(const lazy_results&) = delete;
  lazy_results& operator=(const lazy_results&) = delete;
  ~lazy_results() = default;

  iterator begin() {
    if (!begun_) {
      begun_ = true;
      next_chunk();
    }
    return iterator(*this);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// A descriptor that polls readable while ++, or at first begin(), need not wait: for a result, an error, or the end.
  /// The first call has the first tasks begun. It stays the object's.
  /// @throws std::system_error  no descriptor left. @throws  what taking items from the range does.
  [[nodiscard]] int native_handle() {
    if (!readable_.is_used()) {
      submit_ahead();
    }
    const int polled = readable_.native_handle();
    show_readable();  // each time: there may have been no descriptor left for the oldest task's
    return polled;
  }

 private:
  friend class pool;
  using item = detail::stored_t<std::ranges::range_value_t<Range>>;
  using results = std::vector<value_type>;

  class chunk_state final : public detail::task_state<results> {
   public:
    using detail::task_state<results>::task_state;
    void succeed(std::size_t /*index*/, decoder in) noexcept override {
      this->set([&] {
        results all;
        for (std::uint64_t count = in.unsigned_integer(); count > 0; --count) {
          all.push_back(detail::receive<value_type>(in));
        }
        return all;
      });
    }
  };

  lazy_results(pool& workers, F function, Range&& range, const map_options& options)
      : pool_(workers),
        function_(std::move(function)),
        range_(std::forward<Range>(range)),
        options_(options.tasks),
        chunk_size_(options.chunk_size != 0 ? options.chunk_size : 1),
        in_flight_(options.in_flight != 0 ? options.in_flight : 4 * workers.size()) {}

  [[nodiscard]] bool is_at_end() const noexcept { return read_ == chunk_.size() && waiting_.empty(); }

  void advance() {
    if (++read_ >= chunk_.size()) {
      next_chunk();
    } else {
      show_readable();
    }
  }

  void next_chunk() {
    chunk_.clear();
    read_ = 0;
    submit_ahead();
    if (!waiting_.empty()) {
      task<results> oldest = std::move(waiting_.front());
      waiting_.pop_front();
      oldest.wait();
      readable_.follow_nothing();  // before the descriptor of the oldest is closed
      std::exception_ptr failure;
      try {
        chunk_ = oldest.get();
      } catch (...) {
        failure = std::current_exception();
      }
      show_readable();
      if (failure != nullptr) {
        std::rethrow_exception(failure);
      }
    }
  }

  void show_readable() {
    if (readable_.is_used()) {
      if (read_ + 1 < chunk_.size() || waiting_.empty()) {
        readable_.be_readable();
      } else {
        readable_.follow(waiting_.front().native_handle());
      }
    }
  }

  // ++ only when the next item is wanted: a stream waits for it there.
  bool has_next() {
    if (!next_) {
      next_.emplace(std::ranges::begin(range_));
    } else if (taken_) {
      ++*next_;
    }
    taken_ = false;
    return *next_ != std::ranges::end(range_);
  }

  void submit_ahead() {
    // If it is polled one more, so that none is left only at the end.
    while (waiting_.size() < in_flight_ + (readable_.is_used() ? 1 : 0) && has_next()) {
      encoder items;
      std::size_t count = 0;
      for (; count < chunk_size_ && has_next(); ++count) {
        detail::ship_stored<std::ranges::range_value_t<Range>>(items, **next_);
        taken_ = true;
      }
      encoder arguments;
      detail::ship_function<F>(arguments, function_);
      arguments.unsigned_integer(count);
      auto state = std::make_shared<chunk_state>(pool_.owner());
      const std::array parts{arguments.bytes(), items.bytes()};
      pool_.submit_one(detail::run_chunk<value_type, F, item>, parts, state, options_);
      waiting_.push_back(task<results>(std::move(state)));
    }
  }

  pool& pool_;
  F function_;
  Range range_;  // a reference, if that was given
  task_options options_;
  std::size_t chunk_size_;
  std::size_t in_flight_;
  bool begun_ = false;
  std::optional<std::ranges::iterator_t<Range>> next_;
  bool taken_ = false;  // *next_ was submitted
  std::deque<task<results>> waiting_;
  results chunk_;
  std::size_t read_ = 0;
  detail::relay readable_;
};

template <class F, std::ranges::input_range Range>
lazy_results<std::decay_t<F>, Range> pool::map_lazily(F&& f, Range&& range, const map_options& options) {
  using function = std::decay_t<F>;
  using item = detail::stored_t<std::ranges::range_value_t<Range>>;
  detail::check_task<function, item>();
  check_can_be_sent<function, item>();
  return {*this, std::forward<F>(f), std::forward<Range>(range), options};
}

}  // namespace shoal
