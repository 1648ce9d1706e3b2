#pragma once

// The typed ends of a pool's tasks: what is run in the worker, and what receives the outcome in the owner.

#include <exception>
#include <functional>
#include <future>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/detail/shipping.hpp"
#include "shoal/record.hpp"

namespace shoal::detail {

/// Runs in a worker: reads function and arguments, calls, writes the result.
using task_function = void (*)(decoder& in, encoder& out);

/// Waits in the owner for the outcome of one task.
class completion {
 public:
  virtual ~completion() = default;
  virtual void succeed(decoder result) noexcept = 0;
  virtual void fail(std::exception_ptr reason) noexcept = 0;
};

template <class R, R (*Receive)(decoder&)>
class promised final : public completion {
 public:
  std::future<R> future() { return promise_.get_future(); }

  void succeed(decoder result) noexcept override {
    try {
      if constexpr (std::is_void_v<R>) {
        promise_.set_value();
      } else {
        promise_.set_value(Receive(result));
      }
    } catch (...) {
      promise_.set_exception(std::current_exception());
    }
  }

  void fail(std::exception_ptr reason) noexcept override { promise_.set_exception(std::move(reason)); }

 private:
  std::promise<R> promise_;
};

template <class R>
R receive_result(decoder& in) {
  if constexpr (!std::is_void_v<R>) {
    return receive<R>(in);
  }
}

template <class F, class... Args>
void run_call(decoder& in, encoder& out) {
  F function = receive_function<F>(in);
  std::tuple<Args...> arguments{receive<Args>(in)...};  // in braces, so from left to right
  const auto call = [&](Args&&... each) -> decltype(auto) { return std::invoke(function, std::move(each)...); };
  if constexpr (std::is_void_v<std::invoke_result_t<F&, Args...>>) {
    std::apply(call, std::move(arguments));
  } else {
    ship<std::decay_t<std::invoke_result_t<F&, Args...>>>(out, std::apply(call, std::move(arguments)));
  }
}

template <class F, class T>
void run_chunk(decoder& in, encoder& out) {
  F function = receive_function<F>(in);
  const std::uint64_t count = in.unsigned_integer();
  out.unsigned_integer(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, T>>) {
      std::invoke(function, receive<T>(in));
    } else {
      ship<std::decay_t<std::invoke_result_t<F&, T>>>(out, std::invoke(function, receive<T>(in)));
    }
  }
}

template <class R>
std::vector<R> receive_chunk(decoder& in) {
  std::vector<R> results;
  const std::uint64_t count = in.unsigned_integer();
  results.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    results.push_back(receive<R>(in));
  }
  return results;
}

template <class F, class... Args>
consteval void check_task() {
  static_assert(
      shippable_function<F>,
      "shoal: this function object cannot be sent to a worker process. Function pointers, lambdas whose captures are "
      "trivially copyable (numbers, arrays of them, plain structs) and encodable aggregates can. Pass what else the "
      "function needs as arguments");
  static_assert((shippable<Args> && ...),
                "shoal: an argument cannot be sent to a worker process. Types that shoal::codec knows and trivially "
                "copyable classes "
                "can; pointers, spans, views and reference wrappers cannot, since they would point into another "
                "process's memory");
  static_assert(
      std::is_invocable_v<F&, Args...>,
      "shoal: the function cannot be called with these arguments. They arrive as rvalues, text as std::string");
  if constexpr (std::is_invocable_v<F&, Args...>) {
    using result = std::decay_t<std::invoke_result_t<F&, Args...>>;
    static_assert(std::is_void_v<result> || shippable<result>,
                  "shoal: the function's result cannot be sent back from a worker process. See shoal::codec for the "
                  "types that can");
  }
}

}  // namespace shoal::detail
