#pragma once

// For programs that have Asio: not included by any other header.

#include <asio.hpp>
#include <concepts>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "shoal/task.hpp"

namespace shoal {
namespace detail {

template <class T>
struct asio_signature {
  using type = void(std::exception_ptr, T);
};
template <>
struct asio_signature<void> {
  using type = void(std::exception_ptr);
};

template <class T, class Handler>
void complete(task<T>& done, Handler& handler) {
  if constexpr (std::is_void_v<T>) {
    std::exception_ptr failure;
    try {
      done.get();
    } catch (...) {
      failure = std::current_exception();
    }
    std::move(handler)(failure);
  } else {
    std::exception_ptr failure;
    T result{};
    try {
      result = done.get();
    } catch (...) {
      failure = std::current_exception();
    }
    std::move(handler)(failure, std::move(result));
  }
}

}  // namespace detail

/// An asynchronous operation of Asio that ends when a task has its outcome:
///
///     int lines = co_await shoal::async_get(pool.submit(count_lines, "README.md"), asio::use_awaitable);
///
/// Its signature is void(std::exception_ptr, T), or void(std::exception_ptr) of a task<void>. The handler runs on its
/// associated executor, which has work until then.
template <class T, class CompletionToken>
requires std::is_void_v<T> || std::default_initializable<T>
auto async_get(task<T> awaited, CompletionToken&& token) {
  return asio::async_initiate<CompletionToken, typename detail::asio_signature<T>::type>(
      [](auto handler, task<T> given) {
        auto executor = asio::prefer(asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked);
        given.then([handler = std::move(handler), executor = std::move(executor)](task<T> done) mutable {
          asio::post(executor, [handler = std::move(handler), done = std::move(done)]() mutable {
            detail::complete(done, handler);
          });
        });
      },
      token, std::move(awaited));
}

}  // namespace shoal
