#pragma once

// The typed ends of a pool's tasks: what is run in the worker, and what receives the outcome in the owner.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "shoal/detail/shipping.hpp"
#include "shoal/record.hpp"

namespace shoal::detail {

/// Runs in a worker: reads function and arguments, calls, writes the result.
using task_function = void (*)(decoder& in, encoder& out);

/// Waits in the owner for the outcomes of tasks, each of which has its index here.
class completion {
 public:
  virtual ~completion() = default;

  /// A task was submitted, or is again, under this ticket.
  virtual void submitted(std::size_t index, std::uint64_t ticket) noexcept = 0;

  // One of these is called once for each index.
  virtual void succeed(std::size_t index, decoder result) noexcept = 0;
  virtual void fail(std::size_t index, std::exception_ptr reason) noexcept = 0;
};

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

// R: what the function returns, or void: nobody wants it.
template <class R, class F, class T>
void run_chunk(decoder& in, encoder& out) {
  F function = receive_function<F>(in);
  const std::uint64_t count = in.unsigned_integer();
  out.unsigned_integer(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if constexpr (std::is_void_v<R>) {
      std::invoke(function, receive<T>(in));
    } else {
      ship<R>(out, std::invoke(function, receive<T>(in)));
    }
  }
}

// What becomes of a chunk by an associative operation.
template <class Op, class F, class T, class R>
void run_reduction(decoder& in, encoder& out) {
  Op combine = receive_function<Op>(in);
  F function = receive_function<F>(in);
  const std::uint64_t count = in.unsigned_integer();  // at least 1
  R total(std::invoke(function, receive<T>(in)));
  for (std::uint64_t i = 1; i < count; ++i) {
    total = static_cast<R>(std::invoke(combine, std::move(total), std::invoke(function, receive<T>(in))));
  }
  out.unsigned_integer(1);  // as a chunk of one result
  ship<R>(out, total);
}

template <class F, class... Args>
consteval void check_task() {
  static_assert(
      shippable_function<F>,
      "shoal: this function object cannot be sent to a worker process. Function pointers, lambdas whose captures are "
      "trivially copyable (numbers, arrays of them, plain structs) and encodable aggregates can. Pass what else the "
      "function needs as arguments");
  static_assert(
      (shippable<Args> && ...),
      "shoal: an argument cannot be sent to a worker process. Types that shoal::codec knows and trivially "
      "copyable classes can; pointers, spans, views and reference wrappers cannot, since they would point into another "
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
