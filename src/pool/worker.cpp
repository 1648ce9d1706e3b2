#include "pool/worker.hpp"

#include <array>
#include <new>
#include <stdexcept>

#include "pool/messages.hpp"
#include "process/exception_text.hpp"
#include "shoal/detail/pool_task.hpp"

namespace shoal {
namespace {

class worker {
 public:
  worker(work_queue& tasks, std::size_t slot) : tasks_(tasks), slot_(slot) {}

  void run() {
    for (;;) {
      switch (tasks_.take(slot_, task_)) {
        case queue_status::ok:
          answer(call());
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
    const_bytes arguments = task_.bytes();
    try {
      const auto header = take_header<task_header>(arguments);
      const auto function =
          reinterpret_cast<detail::task_function>(const_cast<void*>(detail::find_code(header.function)));
      decoder in(arguments);
      function(in, result_);
      return result_kind::value;
    } catch (const error& failure) {
      // From find_code, here or for an argument. One that the function itself threw for another place is reported just
      // as well.
      if (failure.code() == errc::unknown_function) {
        return describe(result_kind::unknown_function);
      }
      return describe(result_kind::exception);
    } catch (...) {
      return describe(result_kind::exception);
    }
  }

  // Of the exception being handled. What the function had written by then is discarded.
  result_kind describe(result_kind kind) {
    const exception_text text = describe_current_exception();
    result_.clear();
    result_.string(text.type);
    result_.string(text.message);
    return kind;
  }

  void answer(result_kind kind) {
    try {
      send(kind);
    } catch (const std::bad_alloc&) {
      // Large results are what does not fit; a few words may.
      const std::size_t size = result_.bytes().size();
      result_.clear();
      result_.string("std::bad_alloc");
      result_.string("there was no shared memory left for the task's result of " + std::to_string(size) + " bytes");
      send(result_kind::exception);
    }
  }

  void send(result_kind kind) {
    const result_header header{kind};
    const std::array parts{bytes_of(header), result_.bytes()};
    tasks_.finish(slot_, task_.ticket(), encoding::raw, parts);
  }

  work_queue& tasks_;
  std::size_t slot_;
  taken_task task_;
  encoder result_;
};

}  // namespace

void work(work_queue& tasks, std::size_t slot) { worker(tasks, slot).run(); }

}  // namespace shoal
