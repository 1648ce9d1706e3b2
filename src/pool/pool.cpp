#include "shoal/pool.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>

#include "os/blocked_signals.hpp"
#include "pool/messages.hpp"
#include "pool/processors.hpp"
#include "pool/supervisor.hpp"
#include "shoal/error.hpp"
#include "shoal/work_queue.hpp"

namespace shoal {
namespace {

std::string name_of_task(std::uint64_t ticket) { return "task " + std::to_string(ticket); }

std::size_t checked(std::size_t workers) {
  if (workers == 0) {
    throw std::invalid_argument(
        "a pool of 0 workers was asked for; it needs at least 1. Without an argument there is one for each processor.");
  }
  return workers;
}

std::exception_ptr unknown_function(std::uint64_t ticket, const std::string& address) {
  Dl_info info{};
  void* at = nullptr;
  std::string place = address;
  if (std::sscanf(address.c_str(), "%p", &at) == 1 && ::dladdr(at, &info) != 0 && info.dli_fname != nullptr) {
    place += " in " + std::string(info.dli_fname);
  }
  return std::make_exception_ptr(
      error(errc::unknown_function,
            name_of_task(ticket) + " calls code at " + place +
                ", which its worker process does not have: it was loaded after the worker had been started. "
                "Make the pool after loading shared libraries with dlopen."));
}

}  // namespace

class pool::impl {
 public:
  explicit impl(std::size_t workers) : work_(workers, "pool"), supervisor_(work_, workers) {
    try {
      const os::blocked_signals blocked;
      receiver_ = std::thread(&impl::receive, this);
    } catch (...) {
      supervisor_.abandon();
      throw;
    }
  }

  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  ~impl() {
    close();
    receiver_.join();
  }

  [[nodiscard]] bool is_owner() const noexcept { return ::getpid() == owner_; }

  void enqueue(detail::task_function run, const_bytes arguments, std::unique_ptr<detail::completion> outcome) {
    const task_header header{detail::locate_code(reinterpret_cast<const void*>(run))};
    const std::array parts{bytes_of(header), arguments};
    const std::lock_guard lock(mutex_);
    if (ending_ != ending::none) {
      throw error(errc::closed, why_closed_ + ", so it takes no more tasks.");
    }
    // Entered first: the outcome may arrive before submit returns, and what can fail shall fail before anything is
    // submitted.
    const auto entered = unfinished_.emplace(submitted_, std::move(outcome)).first;
    try {
      work_.submit(encoding::raw, parts);
    } catch (...) {
      unfinished_.erase(entered);
      throw;
    }
    ++submitted_;
  }

  void close() { close("the pool was closed", ending::orderly); }

  void wait() {
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [&] { return unfinished_.empty() && delivering_ == 0; });
  }

  void terminate() {
    close("the pool was terminated", ending::by_force);
    supervisor_.kill_all();
    wait();
  }

 private:
  enum class ending {
    none,
    orderly,   // what was submitted is still run
    by_force,  // workers are being killed
  };

  void close(const std::string& reason, ending how) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_ >= how) {
        return;
      }
      ending_ = how;
      why_closed_ = reason;
    }
    work_.close();
    supervisor_.wind_down();
  }

  // The thread that receives outcomes, until there is no worker left and never will be.
  void receive() {
    constexpr std::size_t most = 256;
    outcome_batch received;
    bool more = true;
    while (more) {
      try {
        (void)work_.next(received, most);
        for (const outcome& each : received) {
          more = handle(each) && more;
        }
      } catch (const std::bad_alloc&) {
        // The outcome is still there. Memory may come back, and there is nothing else to wait for.
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      } catch (const std::exception& failure) {
        close(std::string("the pool failed: ") + failure.what(), ending::by_force);
        supervisor_.abandon();
        more = false;
      }
    }
    fail_unfinished();
  }

  bool handle(const outcome& received) {
    if (received.what == outcome::kind::finished) {
      supervisor_.worker_finished_something(received.slot);
      deliver(received.ticket, received.bytes);
      return true;
    }
    const std::optional<std::uint64_t> ticket = work_.reclaim(received.slot);
    if (ticket) {
      const worker_end end = supervisor_.how_it_ended(received.slot);
      fail(*ticket, std::make_exception_ptr(worker_died(*ticket, end.id, end.status, end.how)));
    }
    const bool more = supervisor_.release(received.slot, ticket.has_value());
    if (const std::optional<std::string> failure = supervisor_.failure()) {
      close("the pool gave up: " + *failure, ending::by_force);
    }
    return more;
  }

  void deliver(std::uint64_t ticket, const_bytes bytes) {
    const std::unique_ptr<detail::completion> waiting = take(ticket);
    if (waiting == nullptr) {
      return;
    }
    try {
      const result_kind kind = take_header<result_header>(bytes).kind;
      decoder in(bytes);
      if (kind == result_kind::value) {
        waiting->succeed(in);
      } else {
        std::string type(in.string());
        std::string message(in.string());
        waiting->fail(
            kind == result_kind::unknown_function
                ? unknown_function(ticket, message)
                : std::make_exception_ptr(remote_error(std::move(type), std::move(message), name_of_task(ticket))));
      }
    } catch (...) {
      waiting->fail(std::current_exception());
    }
    delivered();
  }

  void fail(std::uint64_t ticket, std::exception_ptr reason) {
    if (const std::unique_ptr<detail::completion> waiting = take(ticket)) {
      waiting->fail(is_being_killed() ? closed_error(ticket) : std::move(reason));
      delivered();
    }
  }

  void fail_unfinished() {
    std::unordered_map<std::uint64_t, std::unique_ptr<detail::completion>> left;
    {
      const std::lock_guard lock(mutex_);
      left.swap(unfinished_);
      ++delivering_;
    }
    for (const auto& [ticket, waiting] : left) {
      waiting->fail(closed_error(ticket));
    }
    delivered();
  }

  std::exception_ptr closed_error(std::uint64_t ticket) {
    const std::lock_guard lock(mutex_);
    return std::make_exception_ptr(
        error(errc::closed, why_closed_ + " before " + name_of_task(ticket) + " was finished."));
  }

  bool is_being_killed() {
    const std::lock_guard lock(mutex_);
    return ending_ == ending::by_force;
  }

  std::unique_ptr<detail::completion> take(std::uint64_t ticket) {
    const std::lock_guard lock(mutex_);
    const auto found = unfinished_.extract(ticket);
    if (found.empty()) {
      return nullptr;
    }
    ++delivering_;
    return std::move(found.mapped());
  }

  void delivered() {
    const std::lock_guard lock(mutex_);
    --delivering_;
    if (unfinished_.empty() && delivering_ == 0) {
      all_done_.notify_all();
    }
  }

  const pid_t owner_ = ::getpid();
  work_queue work_;

  std::mutex mutex_;  // guards everything down to the blank line
  std::condition_variable all_done_;
  std::unordered_map<std::uint64_t, std::unique_ptr<detail::completion>> unfinished_;  // by ticket
  std::size_t delivering_ = 0;  // outcomes taken out of unfinished_ that their futures do not have yet
  std::uint64_t submitted_ = 0;
  ending ending_ = ending::none;
  std::string why_closed_;

  supervisor supervisor_;
  std::thread receiver_;
};

pool::pool() : pool(usable_processors()) {}
pool::pool(std::size_t workers) : size_(checked(workers)) {
  impl_ = std::make_unique<impl>(workers);  // null until then, also in the workers: see state()
}

pool::~pool() {
  if (!impl_->is_owner()) {
    // A fork of the program that returns from main: workers and threads are the parent's.
    static_cast<void>(impl_.release());
  }
}

pool::impl& pool::state() const {
  // The first workers were forked while impl_ was null still.
  if (impl_ == nullptr || !impl_->is_owner()) {
    throw std::logic_error(
        "a pool was used in another process than the one that made it, such as in one of its own tasks. Return "
        "what is to be done next, and submit it where the result is received.");
  }
  return *impl_;
}

void pool::close() { state().close(); }
void pool::wait() { state().wait(); }
void pool::terminate() { state().terminate(); }

void pool::enqueue(detail::task_function run, const_bytes arguments, std::unique_ptr<detail::completion> outcome) {
  state().enqueue(run, arguments, std::move(outcome));
}

}  // namespace shoal
