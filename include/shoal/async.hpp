#pragma once

#include <chrono>
#include <concepts>
#include <future>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/result_memory.hpp"
#include "shoal/process.hpp"

namespace shoal {
namespace detail {

[[noreturn]] void throw_no_result(const std::string& process, exit_status status);
[[noreturn]] void throw_no_future();

template <class F, class... Args, class... Parameters>
decltype(auto) invoke_arrived(type_list<Parameters...> /*types*/, F& function, arrival_t<Args>&... each) {
  return std::invoke(std::move(function), static_cast<Parameters>(each)...);
}

template <class F, class... Args>
struct result_of_call {
  using type = decltype(invoke_arrived<F, Args...>(parameters_t<F, Args...>{}, std::declval<F&>(),
                                                   std::declval<arrival_t<Args>&>()...));
};

// The function of the process behind a future.
template <class F, class... Args>
void call_and_store(result_memory memory, F function, arrival_t<Args>... each) {
  encoder result;
  using type = typename result_of_call<F, Args...>::type;
  if constexpr (std::is_void_v<type>) {
    invoke_arrived<F, Args...>(parameters_t<F, Args...>{}, function, each...);
  } else {
    ship<std::decay_t<type>>(result, invoke_arrived<F, Args...>(parameters_t<F, Args...>{}, function, each...));
    memory.store(result);
  }
}

}  // namespace detail

/// The result, some time, of a function that runs in a process of its own; made by shoal::async.
///
/// Destroyed before the result was asked for it waits for the process, as the future of std::async does for its
/// thread; a fork's copy does not. Threads: as any value, concurrent calls of const members only.
template <class R>
class future {
 public:
  future() noexcept = default;
  future(future&&) noexcept = default;
  future& operator=(future&& other) noexcept {
    std::swap(process_, other.process_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  future(const future&) = delete;
  future& operator=(const future&) = delete;
  ~future() {
    if (valid() && !process_.is_of_another_process()) {
      try {
        process_.join();
      } catch (const std::exception&) {
        // Nobody has asked.
      }
    }
  }

  [[nodiscard]] bool valid() const noexcept { return process_.joinable(); }

  /// Waits for the process, and returns what its function did. Afterwards this is no future any more.
  /// @throws remote_error        an exception left the function.
  /// @throws std::runtime_error  the process ended before that: killed, or by exit.
  /// @throws std::future_error   no_state: this is none.
  R get() {
    if (!valid()) {
      detail::throw_no_future();
    }
    const std::string which = "process " + std::to_string(process_.id());
    const detail::result_memory memory = *std::exchange(memory_, std::nullopt);
    const exit_status status = process_.join();
    const std::vector<std::byte> bytes = memory.load();
    if (!status.success() || (!std::is_void_v<R> && bytes.empty())) {
      detail::throw_no_result(which, status);
    }
    if constexpr (!std::is_void_v<R>) {
      decoder in(bytes);
      return detail::receive<R>(in);
    }
  }

  /// @return ready or timeout
  template <class Rep, class Period>
  [[nodiscard]] std::future_status wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return process_.wait_until(after(timeout)) ? std::future_status::ready : std::future_status::timeout;
  }
  void wait() const { (void)process_.wait_until(deadline::max()); }

  /// Polls readable when the process has ended; see process::native_handle().
  [[nodiscard]] int native_handle() const noexcept { return process_.native_handle(); }

  /// The process, to be signalled.
  [[nodiscard]] const shoal::process& process() const noexcept { return process_; }

 private:
  template <class F, class... Args>
  friend auto async(const process_options& options, F&& f, Args&&... args);

  shoal::process process_;
  std::optional<detail::result_memory> memory_;
};

/// Runs f(args...) in a process of its own; the future has its result. What f and its arguments may be, and what is
/// thrown, is as with `process`; the result may be of any type that shoal::codec knows, or a trivially copyable class.
template <class F, class... Args>
[[nodiscard]] auto async(const process_options& options, F&& f, Args&&... args) {
  using function = std::decay_t<F>;
  constexpr bool callable = !std::is_void_v<detail::parameters_t<function, std::decay_t<Args>...>>;
  static_assert(callable, "shoal: the function cannot be called with these arguments, text as std::string");
  using result = std::decay_t<typename detail::result_of_call<function, std::decay_t<Args>...>::type>;
  static_assert(std::is_void_v<result> || detail::shippable<result>,
                "shoal: the function's result cannot be sent back. See shoal::codec for the types that can");
  future<result> answer;
  answer.memory_.emplace();
  answer.process_ = shoal::process(options, &detail::call_and_store<function, std::decay_t<Args>...>,
                                   std::ref(*answer.memory_), std::forward<F>(f), std::forward<Args>(args)...);
  return answer;
}
template <class F, class... Args>
requires(!std::same_as<std::remove_cvref_t<F>, process_options>) [[nodiscard]] auto async(F&& f, Args&&... args) {
  return async(process_options{}, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace shoal
