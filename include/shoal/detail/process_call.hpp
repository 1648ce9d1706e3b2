#pragma once

// The typed ends of a process's function: what runs it in a fork, and what sends it to a new program and runs it there.

#include <array>
#include <bit>
#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "shoal/detail/handles.hpp"
#include "shoal/detail/parcel.hpp"
#include "shoal/detail/program_code.hpp"
#include "shoal/detail/shipping.hpp"

namespace shoal::detail {

// --- What can be sent

template <class T>
concept member_function = std::is_member_function_pointer_v<T>;

// Its captures cannot be looked into: they may be references.
template <class T>
inline constexpr bool is_closure_with_state = false;
template <class T>
requires(std::is_class_v<T> && !std::is_empty_v<T> &&
         requires { &T::operator(); }) inline constexpr bool is_closure_with_state<T> = true;

template <class T>
concept sendable_as_bytes = travels_as_bytes<T> && !is_closure_with_state<T>;

/// An argument that can be sent to a process that is no fork of this one, as what it decays to.
template <class T>
concept sendable =
    shared_object<T> || is_shared_reference<T> || function_pointer<T> || encodable<stored_t<T>> || sendable_as_bytes<T>;

/// The same of a function. The members of a function object travel by its codec; a lambda with captures has none.
template <class F>
concept sendable_function = function_pointer<F> || member_function<F> || std::is_member_object_pointer_v<F> ||
                            (std::is_empty_v<F>&& std::is_trivially_copyable_v<F>) ||
                            (std::is_class_v<F> && encodable<F>);

// --- As what it arrives

/// What holds an argument where it has arrived: a referenced shared object becomes an own handle.
template <class T>
struct arrival {
  using type = stored_t<T>;
};
template <class T>
requires is_shared_reference<std::reference_wrapper<T>>
struct arrival<std::reference_wrapper<T>> {
  using type = std::remove_const_t<T>;
};
template <class T>
using arrival_t = typename arrival<T>::type;

/// How a function can be called with arguments that have arrived: all as rvalues, as std::thread does, but for
/// referenced shared objects. Those are passed by reference, or else by value. `type` is void if it cannot.
template <class... T>
struct type_list {};

template <class F, class Chosen, class... Rest>
struct parameters;
template <class F, class... Chosen>
struct parameters<F, type_list<Chosen...>> {
  using type = std::conditional_t<std::is_invocable_v<F, Chosen...>, type_list<Chosen...>, void>;
};
template <class F, class... Chosen, class T, class... Rest>
struct parameters<F, type_list<Chosen...>, T, Rest...> {
  using type = typename parameters<F, type_list<Chosen..., arrival_t<T>&&>, Rest...>::type;
};
template <class F, class... Chosen, class T, class... Rest>
requires is_shared_reference<std::reference_wrapper<T>>
struct parameters<F, type_list<Chosen...>, std::reference_wrapper<T>, Rest...> {
  using by_reference = typename parameters<F, type_list<Chosen..., T&>, Rest...>::type;
  using by_value = typename parameters<F, type_list<Chosen..., std::remove_const_t<T>&&>, Rest...>::type;
  using type = std::conditional_t<std::is_void_v<by_reference>, by_value, by_reference>;
};
template <class F, class... Args>
using parameters_t = typename parameters<F, type_list<>, Args...>::type;

// --- Sending

template <class T>
void send(outgoing_parcel& out, T& value) {
  if constexpr (is_shared_reference<T>) {
    send_object(out, const_cast<arrival_t<T>&>(value.get()));  // a handle of a const object has the same location
  } else if constexpr (shared_object<T>) {
    send_object(out, value);
  } else if constexpr (function_pointer<T>) {
    encode_code(out.values, reinterpret_cast<const void*>(value));
  } else if constexpr (encodable<T>) {
    encode(out.values, value);
  } else {
    ship_stored(out.values, value);
  }
}

template <class T>
arrival_t<T> receive_argument(incoming_parcel& in) {
  using stored_type = arrival_t<T>;
  if constexpr (shared_object<stored_type>) {
    return receive_object<stored_type>(in);
  } else if constexpr (function_pointer<stored_type>) {
    return reinterpret_cast<stored_type>(const_cast<void*>(decode_code(in.values)));
  } else {
    return receive<stored_type>(in.values);
  }
}

template <class F>
void send_function(outgoing_parcel& out, const F& function) {
  if constexpr (function_pointer<F>) {
    encode_code(out.values, reinterpret_cast<const void*>(function));
  } else {
    ship_function(out.values, function);
  }
}

template <class F>
F receive_sent_function(incoming_parcel& in) {
  if constexpr (function_pointer<F>) {
    return reinterpret_cast<F>(const_cast<void*>(decode_code(in.values)));
  } else {
    return receive_function<F>(in.values);
  }
}

// --- Calling

/// The exit code for what a function returned.
template <class Call>
int exit_code_of(Call&& call) {
  if constexpr (std::is_void_v<std::invoke_result_t<Call>>) {
    std::forward<Call>(call)();
    return 0;
  } else {
    return std::forward<Call>(call)();
  }
}

template <class Result>
inline constexpr bool is_exit_code = std::is_void_v<Result> || std::is_same_v<Result, int>;

/// What a new process calls with what it was sent, when it has made its settings; `ready` is called before the
/// function.
using entry_function = int (*)(incoming_parcel& in, void (*ready)(void*), void* context);

template <class F, class... Args, class... Parameters>
int call_arrived(type_list<Parameters...> /*types*/, F& function, std::tuple<arrival_t<Args>...>& arguments) {
  return std::apply(
      [&](arrival_t<Args>&... each) {
        return exit_code_of(
            [&]() -> decltype(auto) { return std::invoke(std::move(function), static_cast<Parameters>(each)...); });
      },
      arguments);
}

template <class F, class... Args>
int enter(incoming_parcel& in, void (*ready)(void*), void* context) {
  F function = receive_sent_function<F>(in);
  std::tuple<arrival_t<Args>...> arguments{receive_argument<Args>(in)...};  // in braces, so from left to right
  ready(context);
  return call_arrived<F, Args...>(parameters_t<F, Args...>{}, function, arguments);
}

/// A function and its arguments, of types that are not known any more.
struct process_call {
  void* context;
  int (*run)(void* context);                          // in a fork
  void (*send)(void* context, outgoing_parcel& out);  // to a new program; null: it cannot be sent
  const char* obstacle;                               // why not
};

template <class F, class... Args>
constexpr const char* obstacle_of() {
  if constexpr (!sendable_function<F>) {
    return "the function cannot be sent to a process that is no fork of this one: it is a lambda with captures, or "
           "another object whose members shoal::codec does not know. Pass what it needs as arguments, or use "
           "start_method::fork";
  } else if constexpr (!(sendable<Args> && ...)) {
    return "an argument cannot be sent to a process that is no fork of this one. Types that shoal::codec knows, "
           "trivially copyable classes and objects in shared memory (by std::ref) can; references, pointers and views "
           "cannot. Use start_method::fork for those";
  } else if constexpr (std::is_void_v<parameters_t<F, Args...>>) {
    return "the function cannot be called with the arguments as they arrive in a process that is no fork of this one, "
           "text as std::string";
  } else {
    return nullptr;
  }
}

template <class F, class... Args>
class typed_process_call {
 public:
  template <class... Given>
  explicit typed_process_call(Given&&... given) : parts_(std::forward<Given>(given)...) {}

  [[nodiscard]] process_call erased() {
    process_call call{this, run, nullptr, obstacle_of<F, Args...>()};
    if constexpr (obstacle_of<F, Args...>() == nullptr) {
      call.send = send_call;
    }
    return call;
  }

 private:
  static int run(void* context) {
    return std::apply(
        [](F& function, Args&... arguments) {
          if constexpr (std::is_invocable_v<F, Args...>) {
            return exit_code_of(
                [&]() -> decltype(auto) { return std::invoke(std::move(function), std::move(arguments)...); });
          } else {
            // A parameter is an own handle of a shared object.
            std::tuple<arrival_t<Args>...> arrived{arrive(arguments)...};
            return call_arrived<F, Args...>(parameters_t<F, Args...>{}, function, arrived);
          }
        },
        static_cast<typed_process_call*>(context)->parts_);
  }

  template <class T>
  static arrival_t<T> arrive(T& argument) {
    if constexpr (is_shared_reference<T>) {
      return second_object(const_cast<arrival_t<T>&>(argument.get()));
    } else {
      return arrival_t<T>(std::move(argument));
    }
  }

  static void send_call(void* context, outgoing_parcel& out) {
    if constexpr (obstacle_of<F, Args...>() == nullptr) {
      encode_code(out.values, reinterpret_cast<const void*>(static_cast<entry_function>(&enter<F, Args...>)));
      std::apply(
          [&](F& function, Args&... arguments) {
            send_function(out, function);
            (detail::send(out, arguments), ...);
          },
          static_cast<typed_process_call*>(context)->parts_);
    }
  }

  std::tuple<F, Args...> parts_;
};

template <class F, class... Parameters>
consteval bool returns_exit_code(type_list<Parameters...> /*types*/) {
  return is_exit_code<std::invoke_result_t<F, Parameters...>>;
}
template <class F, class... Args>
consteval bool returns_exit_code() {
  if constexpr (std::is_invocable_v<F, Args...>) {
    return is_exit_code<std::invoke_result_t<F, Args...>>;
  } else {
    return returns_exit_code<F>(parameters_t<F, Args...>{});
  }
}

template <class F, class... Args>
consteval void check_process_call() {
  constexpr bool callable = std::is_invocable_v<F, Args...> || !std::is_void_v<parameters_t<F, Args...>>;
  static_assert(callable,
                "shoal: the function cannot be called with these arguments. They are passed as rvalues; wrap those "
                "meant as references, and objects in shared memory, in std::ref");
  if constexpr (callable) {
    static_assert(returns_exit_code<F, Args...>(),
                  "shoal: the function of a process returns void or int, its exit code. Send other results through a "
                  "shoal::queue, or use shoal::async or shoal::pool");
  }
}

}  // namespace shoal::detail
