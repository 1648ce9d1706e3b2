#pragma once

// Receives the results of the chunks of one map.

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/task_core.hpp"

namespace shoal::detail {

/// What all maps wait for. Made by std::make_shared; a pool's tasks refer to it without keeping it.
class chunks_state : public task_core, public std::enable_shared_from_this<chunks_state> {
 public:
  using task_core::task_core;

  /// So many chunks were submitted, and no more will be. @return when each has its outcome.
  void wait_for(std::size_t chunks) {
    if (outstanding_.fetch_add(static_cast<std::ptrdiff_t>(chunks)) + static_cast<std::ptrdiff_t>(chunks) != 0) {
      wait_until(deadline::max());
    }
  }

  /// @throws  what the first of the chunks that failed did.
  void check() {
    if (failure_ != nullptr) {
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  }

  void fail(std::size_t index, std::exception_ptr reason) noexcept final {
    {
      const std::lock_guard lock(mutex_);
      if (failure_ == nullptr || index < failed_) {
        failure_ = std::move(reason);
        failed_ = index;
      }
    }
    count_one();
  }

 protected:
  void count_one() noexcept {
    const std::shared_ptr<chunks_state> kept = shared_from_this();  // who waits may let go of it at once
    if (outstanding_.fetch_sub(1) == 1) {
      set_ready();
    }
  }

 private:
  std::atomic<std::ptrdiff_t> outstanding_ = 0;  // negative while chunks end that wait_for() has not counted yet
  std::mutex mutex_;                             // guards the following two
  std::exception_ptr failure_;
  std::size_t failed_ = 0;
};

/// R: what becomes of one item; void: nothing.
template <class R>
class map_state final : public chunks_state {
 public:
  map_state(std::shared_ptr<task_owner> owner, std::size_t items, std::size_t chunk_size)
      : chunks_state(std::move(owner)), chunk_size_(chunk_size) {
    if constexpr (!std::is_void_v<R>) {
      results_.resize(items);
    }
  }

  void succeed(std::size_t index, decoder result) noexcept override {
    try {
      receive_chunk(index * chunk_size_, result);
      count_one();
    } catch (...) {
      fail(index, std::current_exception());
    }
  }

  auto take() {
    check();
    if constexpr (!std::is_void_v<R>) {
      if constexpr (in_place) {
        return std::move(results_);
      } else {
        std::vector<R> all;
        all.reserve(results_.size());
        for (std::optional<R>& each : results_) {
          all.push_back(*std::move(each));
        }
        return all;
      }
    }
  }

 private:
  static constexpr bool in_place = std::default_initializable<R>;
  struct nothing {};
  using slot = std::conditional_t<std::is_void_v<R>, nothing, std::conditional_t<in_place, R, std::optional<R>>>;

  void receive_chunk([[maybe_unused]] std::size_t at, [[maybe_unused]] decoder& in) {
    if constexpr (!std::is_void_v<R>) {
      for (std::uint64_t count = in.unsigned_integer(); count > 0 && at < results_.size(); --count, ++at) {
        results_[at] = receive<R>(in);
      }
    }
  }

  std::size_t chunk_size_;
  std::vector<slot> results_;
};

}  // namespace shoal::detail
