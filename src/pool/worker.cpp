#include <pthread.h>
#include <stdio_ext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "os/forks.hpp"
#include "pool/exception_registry.hpp"
#include "pool/messages.hpp"
#include "process/exception_text.hpp"
#include "process/standard_streams.hpp"
#include "shoal/detail/pool_task.hpp"
#include "shoal/detail/pool_worker.hpp"
#include "shoal/die_with_parent.hpp"

namespace shoal {
namespace {

class worker {
 public:
  worker(work_queue& tasks, const detail::worker_settings& settings) : tasks_(tasks), settings_(settings) {}

  void run() {
    std::uint64_t done = 0;
    while (settings_.max_tasks == 0 || done < settings_.max_tasks) {
      switch (tasks_.take(settings_.slot, task_)) {
        case queue_status::ok:
          answer(call());
          ++done;
          break;
        case queue_status::closed:
          return;
        case queue_status::timed_out:
        case queue_status::interrupted:
        case queue_status::busy:
          break;
      }
    }
  }

 private:
  result_kind call() {
    result_.clear();
    try {
      run_task(task_.bytes());
      end_if_fork();
      return result_kind::value;
    } catch (const std::bad_alloc&) {
      end_if_fork();
      return settings_.max_memory != 0 ? lack_of_memory() : describe();
    } catch (...) {
      end_if_fork();
      return describe();
    }
  }

  void run_task(const_bytes message) {
    const auto header = take_header<task_header>(message);
    const const_bytes name = take_bytes(message, header.name_size);
    const auto function =
        reinterpret_cast<detail::task_function>(const_cast<void*>(detail::find_code({header.function, name})));
    if (header.is_timed != 0) {
      tasks_.tell_begin(settings_.slot);
    }
    decoder in(message);
    function(in, result_);
  }

  // A task may fork, and return in both processes. One of them is the worker.
  void end_if_fork() const {
    if (os::generation() != generation_) {
      flush_standard_streams();
      std::_Exit(EXIT_SUCCESS);
    }
  }

  // Of the exception being handled. What the function had written by then is discarded.
  result_kind describe() {
    result_.clear();
    encode_current_exception(result_);
    return result_kind::exception;
  }

  result_kind lack_of_memory() {
    result_.clear();
    return result_kind::lack_of_memory;
  }

  void answer(result_kind kind) {
    try {
      send(kind);
    } catch (const std::bad_alloc&) {
      // Large results are what does not fit; a few words may.
      const std::size_t size = result_.bytes().size();
      result_.clear();
      result_.unsigned_integer(size);
      send(result_kind::too_large);
    }
  }

  void send(result_kind kind) {
    tasks_.finish(settings_.slot, task_.ticket(), encoding::raw, result_.bytes(), static_cast<std::uint16_t>(kind));
  }

  work_queue& tasks_;
  detail::worker_settings settings_;
  std::uint64_t generation_ = os::generation();
  taken_task task_;
  encoder result_;
};

}  // namespace

void detail::send_location(outgoing_parcel& out, const work_queue_descriptors& descriptors) {
  send_location(out, descriptors.tasks);
  send_location(out, descriptors.results);
  out.add_descriptor(descriptors.claims);
}

void detail::receive_location(incoming_parcel& in, work_queue_descriptors& descriptors) {
  receive_location(in, descriptors.tasks);
  receive_location(in, descriptors.results);
  descriptors.claims = in.take_descriptor();
}

void detail::prepare_worker(const worker_settings& settings) {
  if (settings.is_fork) {
    // What another thread was about to print when a replacement was forked is that thread's to print.
    ::__fpurge(stdout);
    ::pthread_sigmask(SIG_SETMASK, &settings.signal_mask, nullptr);
    die_with_parent(settings.starter);  // again: the mask may block its signal
  }
}

void detail::throw_initializer_failed() {
  const exception_text thrown = describe_current_exception();
  throw initializer_failed(thrown.type + (thrown.message.empty() ? "" : ": " + thrown.message));
}

void detail::work(work_queue& tasks, const worker_settings& settings) { worker(tasks, settings).run(); }

void detail::prepare_and_work(work_queue& tasks, const worker_settings& settings) {
  prepare_worker(settings);
  work(tasks, settings);
}

}  // namespace shoal
