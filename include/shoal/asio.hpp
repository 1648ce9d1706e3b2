#pragma once

// For programs that have Asio, the standalone one (tested with 1.22): not included by any other header.
//
//     asio::awaitable<void> serve(shoal::queue<int>& requests, shoal::queue<int>& answers) {
//       for (;;) {
//         const int request = co_await requests.async_pop(asio::use_awaitable);
//         co_await answers.async_push(request * request, asio::use_awaitable);
//       }
//     }
//
// | operation                     | ends                                         | with                            |
// |-------------------------------|----------------------------------------------|---------------------------------|
// | queue.async_pop(token)        | with a value, or when closed and drained     | void(std::exception_ptr, T)     |
// | queue.async_push(v, token)    | when v is in the queue, or that is closed    | void(std::exception_ptr)        |
// | event.async_wait(token)       | at a moment when it is set                   | void(std::exception_ptr)        |
// | process.async_join(token)     | when the child has ended, which is joined    | void(..., exit_status)          |
// | async_get(task, token)        | when the task has its outcome                | void(std::exception_ptr[, T])   |
//
// The exception is what the call without async_ throws, such as shoal::error (errc::closed); in a coroutine it is
// thrown. T must have a default constructor.
//
// The handler runs on its associated executor, and never before the initiating function has returned; one without an
// executor (asio::bind_executor) does not compile. The object must outlive the operation. No thread and no timer: while
// an operation waits, its execution context polls a duplicate of the object's descriptor.
//
// Cancelling (cancellation slots, all types; not async_get) ends an operation with asio::error::operation_aborted, in
// an asio::system_error, and then it has had no effect: the value is still in the queue, or not in it. That holds for
// `||` of asio::experimental::awaitable_operators too: a value is taken in the same step that hands it over. As for all
// of Asio's operations, who cancels must not run concurrently with the handler: in a context that several threads run,
// both belong in one strand.
//
// Threads: operations on one object may be started by many, in any contexts. Those of one context that wait for the
// same object all look when it gets ready, and those that find nothing wait again. fork: a child must not use its
// parent's context before it has called context.notify_fork(asio::execution_context::fork_child); one of its own is
// simpler.

#include <fcntl.h>
#include <unistd.h>

#include <asio.hpp>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "shoal/event.hpp"
#include "shoal/process.hpp"
#include "shoal/queue.hpp"
#include "shoal/task.hpp"

namespace shoal {
namespace detail {

// A descriptor that an execution context polls for one operation: a duplicate, since a context takes each only once.
class asio_watch {
 public:
  asio_watch(const asio::any_io_executor& executor, int descriptor) : watched_(executor) {
    const int duplicate = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (duplicate < 0) {
      throw asio::system_error(asio::error_code(errno, asio::error::get_system_category()), "descriptor for Asio");
    }
    asio::error_code failure;
    watched_.assign(duplicate, failure);
    if (failure) {
      ::close(duplicate);
      throw asio::system_error(failure, "descriptor for Asio");
    }
  }
  asio_watch(const asio_watch&) = delete;
  asio_watch& operator=(const asio_watch&) = delete;
  // Not by close(): that leaves it in the context's epoll instance as long as what it is a duplicate of is open.
  ~asio_watch() { ::close(watched_.release()); }

  template <class Handler>
  void async_wait(Handler&& handler) {
    watched_.async_wait(asio::posix::descriptor_base::wait_read, std::forward<Handler>(handler));
  }

 private:
  asio::posix::stream_descriptor watched_;
};

// Attempts something at first and whenever a descriptor has become readable, until it succeeds. An attempt is
// - bool operator()(): whether it has succeeded, or what is the reason that it never will;
// - int descriptor(): what to wait for before the next one; -1: nothing;
// - void complete(self, exception).
template <class Attempt>
class asio_operation {
 public:
  explicit asio_operation(Attempt attempt) : attempt_(std::move(attempt)) {}

  template <class Self>
  void operator()(Self& self, const asio::error_code& waited = {}) {
    static_assert(!std::is_same_v<typename Self::executor_type, asio::system_executor>,
                  "the handler has no executor: give it one by asio::bind_executor");
    if (!begun_) {
      begun_ = true;
      self.reset_cancellation_state(asio::enable_total_cancellation());
      asio::post(std::move(self));
      return;
    }
    std::exception_ptr failure;
    try {
      // Looked at in the same step that attempts and hands over: nobody can cancel what has succeeded.
      if (self.get_cancellation_state().cancelled() != asio::cancellation_type::none) {
        throw asio::system_error(asio::error::operation_aborted);
      }
      if (waited) {
        throw asio::system_error(waited);
      }
      if (!attempt_()) {
        wait(self);
        return;
      }
    } catch (...) {
      failure = std::current_exception();
    }
    const std::unique_ptr<asio_watch> ends_later = std::move(watch_);  // its system calls need not be waited for
    attempt_.complete(self, std::move(failure));
  }

 private:
  template <class Self>
  void wait(Self& self) {
    if (watch_ == nullptr) {
      const int descriptor = attempt_.descriptor();
      if (descriptor < 0) {
        asio::post(std::move(self));
        return;
      }
      watch_ = std::make_unique<asio_watch>(self.get_executor(), descriptor);
    }
    asio_watch& watch = *watch_;  // which moves with self
    watch.async_wait(std::move(self));
  }

  Attempt attempt_;
  std::unique_ptr<asio_watch> watch_;
  bool begun_ = false;
};

template <class T, class Format>
class asio_pop {
 public:
  explicit asio_pop(queue<T, Format>& from) : from_(&from) {}

  bool operator()() {
    const bool was_closed = from_->closed();
    value_ = from_->try_pop();
    if (!value_.has_value() && was_closed && from_->empty()) {
      throw_pop_from_closed_queue();
    }
    return value_.has_value();
  }
  int descriptor() { return from_->native_handle(); }
  template <class Self>
  void complete(Self& self, std::exception_ptr failure) {
    self.complete(std::move(failure), value_.has_value() ? *std::move(value_) : T{});
  }

 private:
  queue<T, Format>* from_;
  std::optional<T> value_;
};

template <class T, class Format>
class asio_push {
 public:
  asio_push(queue<T, Format>& to, T value) : to_(&to), value_(std::move(value)) {}

  bool operator()() { return to_->try_push(value_); }
  // Without a bound nothing says when it can go on: a process was stopped in the middle of a push.
  int descriptor() { return to_->descriptors().room < 0 ? -1 : to_->room_handle(); }
  template <class Self>
  void complete(Self& self, std::exception_ptr failure) {
    self.complete(std::move(failure));
  }

 private:
  queue<T, Format>* to_;
  T value_;
};

class asio_event_wait {
 public:
  explicit asio_event_wait(event& awaited) : awaited_(&awaited) {}

  bool operator()() { return awaited_->is_set(); }
  int descriptor() { return awaited_->readiness_handle(); }
  template <class Self>
  void complete(Self& self, std::exception_ptr failure) {
    self.complete(std::move(failure));
  }

 private:
  event* awaited_;
};

class asio_join {
 public:
  explicit asio_join(process& joined) : joined_(&joined) {}

  bool operator()() {
    status_ = joined_->join_for(std::chrono::seconds(0));
    return status_.has_value();
  }
  int descriptor() { return joined_->native_handle(); }
  template <class Self>
  void complete(Self& self, std::exception_ptr failure) {
    self.complete(std::move(failure), status_.value_or(exit_status::exited_with(255)));
  }

 private:
  process* joined_;
  std::optional<exit_status> status_;
};

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

template <class T, class Format>
template <class CompletionToken>
auto queue<T, Format>::async_pop(CompletionToken&& token) {
  static_assert(std::default_initializable<T>, "async_pop: T must have a default constructor");
  return asio::async_compose<CompletionToken, void(std::exception_ptr, T)>(
      detail::asio_operation(detail::asio_pop<T, Format>(*this)), token);
}

template <class T, class Format>
template <class CompletionToken>
auto queue<T, Format>::async_push(T value, CompletionToken&& token) {
  return asio::async_compose<CompletionToken, void(std::exception_ptr)>(
      detail::asio_operation(detail::asio_push<T, Format>(*this, std::move(value))), token);
}

template <class CompletionToken>
auto event::async_wait(CompletionToken&& token) {
  return asio::async_compose<CompletionToken, void(std::exception_ptr)>(
      detail::asio_operation(detail::asio_event_wait(*this)), token);
}

template <class CompletionToken>
auto process::async_join(CompletionToken&& token) {
  return asio::async_compose<CompletionToken, void(std::exception_ptr, exit_status)>(
      detail::asio_operation(detail::asio_join(*this)), token);
}

}  // namespace shoal
