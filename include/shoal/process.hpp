#pragma once

#include <sys/types.h>

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "shoal/deadline.hpp"
#include "shoal/detail/process_call.hpp"
#include "shoal/exit_status.hpp"
#include "shoal/process_options.hpp"
#include "shoal/remote_error.hpp"

namespace shoal {

/// Runs a function in a process of its own, as std::thread runs one in a thread.
///
///     shoal::process child([&] { queue.push(answer()); });
///     child.join();
///
/// By default the child is a fork: it sees what the program's memory held at that moment, through references and
/// pointers too, and nothing of what it changes there is seen by anybody else. What is to be shared lies in shared
/// memory, such as a `queue`. Of the program's threads only the one that forks exists in the child; locks that others
/// held then, of whatever library, stay locked there for ever.
///
/// By start_method::spawn and start_method::forkserver it is this program, executed anew, which is sent the function
/// and its arguments. Functions need not be registered, but main must construct a `shoal::runtime`. What can be sent:
/// - functions: function pointers, lambdas without captures, pointers to members, function objects that shoal::codec
///   knows; of the program and of its shared libraries, also of those loaded by dlopen;
/// - arguments: what shoal::codec knows, text (which arrives as std::string), trivially copyable classes, function
///   pointers, and objects in shared memory: moved, or by std::ref, which arrives as a handle of the same object.
/// Whether it can is decided when the method is known, so by an exception.
///
/// The function's end is the child's end: standard streams are flushed, then it leaves by _exit, so that neither
/// destructors of the parent's objects nor its atexit handlers run a second time. (They do if the function calls
/// std::exit.) Output that was waiting in stdout, std::cout and the like is written by the parent, before the start.
///
/// A child that is killed by SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT first writes to stderr where it was, unless the
/// program has handlers for them.
///
/// Signals: a fork inherits dispositions and mask; in the others no signal is blocked, and those are ignored that this
/// process ignored (forkserver: when the server was launched). Descriptors: a fork has all; the others have stdout,
/// stderr and what process_options says. stdin is empty by all methods, unless inherit_stdin is set.
///
/// Kill-safety: who is killed while starting a process leaves none that has not begun. Threads: as any value,
/// concurrent calls of const members only.
class process {
 public:
  /// No process.
  process() noexcept;

  /// Starts invoke(f, args...) in a child, by get_start_method(). f and args are copied or moved first, as std::thread
  /// does; std::ref keeps a reference, and makes an object in shared memory (queue, mutex, shared_value, ...) arrive as
  /// a handle of the same object.
  ///
  /// An int that f returns becomes the exit code (its low 8 bits, as for main); void means 0. An exception that leaves
  /// f means exit code 1, and join() reports it.
  ///
  /// @throws std::system_error      no process (EAGAIN: see RLIMIT_NPROC), descriptor or memory left, or an option
  ///     cannot be applied. f has not run; nothing is left behind.
  /// @throws std::invalid_argument  not for start_method::fork: the function or an argument cannot be sent.
  /// @throws std::logic_error       not for start_method::fork: there is no shoal::runtime.
  /// @throws shoal::error           errc::unknown_function, not for start_method::fork: a function lies in no module.
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, process> &&
           !std::same_as<std::remove_cvref_t<F>, process_options>) explicit process(F&& f, Args&&... args)
      : process(process_options{}, std::forward<F>(f), std::forward<Args>(args)...) {}

  /// The same of a process that is as `options` say.
  template <class F, class... Args>
  process(const process_options& options, F&& f, Args&&... args) : process() {
    detail::check_process_call<std::decay_t<F>, std::decay_t<Args>...>();
    detail::typed_process_call<std::decay_t<F>, std::decay_t<Args>...> call(std::forward<F>(f),
                                                                            std::forward<Args>(args)...);
    start(options, call.erased());
  }

  process(process&&) noexcept;
  process& operator=(process&&) noexcept;  ///< calls std::terminate where the destructor does
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process();  ///< calls std::terminate if joinable, as std::thread; not in a fork, whose child it is not

  /// There is a child that was not joined. It may have ended meanwhile.
  [[nodiscard]] bool joinable() const noexcept { return child_ != nullptr; }

  /// Waits for the child's end. Afterwards, also after an exception, this is no process any more.
  /// @throws remote_error       an exception left the function.
  /// @throws std::system_error  std::errc::invalid_argument: not joinable. std::errc::no_child_process: how it ended is
  ///     not known, because the program ignores SIGCHLD or has waited for the child by other means, or because the fork
  ///     server was killed.
  exit_status join();

  /// As join, but gives up after `timeout`, or at `until`: then it returns nothing and the child is still joinable.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<exit_status> join_for(std::chrono::duration<Rep, Period> timeout) {
    return join_until(after(timeout));
  }
  [[nodiscard]] std::optional<exit_status> join_until(deadline until);

  /// In programs that use Asio: `join` that does not block. Defined in shoal/asio.hpp, which says more.
  template <class CompletionToken>
  auto async_join(CompletionToken&& token);

  [[nodiscard]] pid_t id() const noexcept;  ///< 0 if not joinable
  [[nodiscard]] std::string name() const;   ///< as in its options; empty if not joinable
  [[nodiscard]] int native_handle()
      const noexcept;  ///< a pidfd, which polls readable when the child has ended; -1 if not joinable

  void terminate() const;  ///< Asks the child to end: SIGTERM. Nothing happens if it has ended, or there is none.
  void interrupt() const;  ///< As Ctrl-C does: SIGINT. Nothing happens if it has ended, or there is none.
  void kill() const;       ///< Ends the child: SIGKILL. Nothing happens if it has ended, or there is none.

 protected:
  /// The child was started by the process that this one is a fork of.
  [[nodiscard]] bool is_of_another_process() const noexcept;

 private:
  template <class R>
  friend class future;
  class child;

  [[nodiscard]] bool wait_until(deadline until) const;

  void send(int signal) const;
  void start(const process_options& options, const detail::process_call& call);

  std::unique_ptr<child> child_;
};

}  // namespace shoal
