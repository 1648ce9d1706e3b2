#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "os/event_fd.hpp"
#include "os/forks.hpp"

namespace shoal::python {

/// What a job's descriptor says. A fork has it in common with its parent, and leaves it alone.
class job_readiness {
 public:
  [[nodiscard]] bool is_mine() const noexcept { return os::generation() == generation_; }
  [[nodiscard]] int get() const noexcept { return event_.get(); }
  void show(bool ready) noexcept {
    if (ready != shown_ && is_mine()) {
      ready ? event_.raise() : event_.lower();
      shown_ = ready;
    }
  }

 private:
  os::event_fd event_;
  std::uint64_t generation_ = os::generation();
  bool shown_ = false;
};

/// One call of a pool's method, of which the pool makes one or several tasks: what their outcomes are delivered to.
/// Guarded by the GIL.
class pool_job {
 public:
  /// @param crew  of the pool; it and what follows are for error messages and Python's part of the job
  pool_job(nanobind::object pool, nanobind::object crew, nanobind::object method, nanobind::object function_name,
           std::size_t chunk_size)
      : pool_(std::move(pool)),
        crew_(std::move(crew)),
        method_(std::move(method)),
        function_name_(std::move(function_name)),
        chunk_size_(chunk_size) {}
  virtual ~pool_job() = default;
  pool_job(const pool_job&) = delete;
  pool_job& operator=(const pool_job&) = delete;

  /// Task `index` has returned `value`, or failed with it. Ignored once the job has ended.
  /// @return how many items that is.
  virtual std::size_t deliver(std::size_t index, bool ok, nanobind::object value) = 0;

  /// No more outcomes will come: whoever waits gets `error`. Ignored once the job has ended.
  /// @return whether it has ended by this.
  virtual bool abort(nanobind::object error) = 0;

  /// Whether somebody who waits for this job can go on.
  [[nodiscard]] virtual bool is_ready() const noexcept = 0;

  /// A descriptor that polls readable while the job is ready, made by the first call.
  /// @throws std::system_error  no descriptor left. @throws std::runtime_error  in a fork of the process that has the
  /// job.
  int descriptor();

  /// Whether all outcomes are there, or none will come any more.
  [[nodiscard]] bool has_ended() const noexcept { return ended_; }

  /// The pool, which is kept alive until the job has ended. It may die with what is returned.
  [[nodiscard]] nanobind::object take_pool() noexcept { return std::move(pool_); }

  double timeout = 0;          ///< seconds that a task may run; 0: as long as it likes
  bool retries = false;        ///< a failed task is shown to `_retry` first
  bool called_back = false;    ///< shown to `_called_back` when its outcome is there, and ready only after completed()
  bool watched = false;        ///< its `_tell` is called when it is ready
  nanobind::object progress;   ///< if any, its `update` is told how many items are done, and `close` that all are
  std::size_t submitted = 0;   ///< tasks made of an iterable, by pool_queue::submit_items,
  bool is_submitting = false;  ///< which is doing so
  std::size_t place = 0;       ///< among the open jobs
  bool is_open = false;        ///< it has one
  std::size_t progressed = 0;  ///< items done that it was not told of

  /// How many tasks may be made of the iterable now.
  [[nodiscard]] virtual std::size_t room() const noexcept = 0;
  /// It has as many as it may. @return whether there will be room again.
  virtual bool notice_room() noexcept = 0;
  /// The iterable has ended, after `submitted` tasks, or with an error in place of the next.
  virtual void end_of_items() = 0;
  virtual void end_of_items(nanobind::object error) = 0;
  [[nodiscard]] bool has_all_items() const noexcept { return all_items_; }

  [[nodiscard]] nanobind::object crew() const { return crew_; }
  [[nodiscard]] nanobind::object method() const { return method_; }
  [[nodiscard]] nanobind::object function_name() const { return function_name_; }
  [[nodiscard]] std::size_t chunk_size() const noexcept { return chunk_size_; }

  virtual int traverse(visitproc visit, void* arg) {
    Py_VISIT(pool_.ptr());
    Py_VISIT(crew_.ptr());
    Py_VISIT(progress.ptr());
    return 0;
  }
  virtual void clear() {
    pool_.reset();
    crew_.reset();
    progress.reset();
  }

 protected:
  void end() noexcept { ended_ = true; }
  /// Call it after whatever may change is_ready().
  void show_readiness() noexcept {
    if (readiness_) {
      readiness_->show(is_ready());
    }
  }
  void has_last_item() noexcept { all_items_ = true; }

 private:
  nanobind::object pool_;
  nanobind::object crew_;
  nanobind::object method_;
  nanobind::object function_name_;
  std::size_t chunk_size_;
  bool all_items_ = false;
  bool ended_ = false;

  std::optional<job_readiness> readiness_;
};

/// shoal._core.PoolResult: of a call that has one result, which may be a list with that of each item.
class pool_result : public pool_job {
 public:
  /// @param length  of the list; negative: the result of the only task is the result.
  pool_result(nanobind::object pool, nanobind::object crew, nanobind::object method, nanobind::object function_name,
              std::size_t chunk_size, Py_ssize_t length);

  std::size_t deliver(std::size_t index, bool ok, nanobind::object value) override;
  bool abort(nanobind::object error) override;
  /// As abort, but ready only after completed() if `called_back`.
  bool fail(nanobind::object error);
  [[nodiscard]] bool is_ready() const noexcept override { return ready_; }
  void completed() noexcept {
    ready_ = true;
    show_readiness();
  }

  // It has room for its items and no more, whatever the iterable has become meanwhile.
  [[nodiscard]] std::size_t room() const noexcept override { return tasks_ - submitted; }
  bool notice_room() noexcept override { return false; }
  void end_of_items() override;
  void end_of_items(nanobind::object error) override;

  [[nodiscard]] bool succeeded() const noexcept { return ok_; }
  [[nodiscard]] std::size_t tasks_left() const noexcept { return left_; }
  [[nodiscard]] nanobind::object value() const { return value_; }

  int traverse(visitproc visit, void* arg) override {
    Py_VISIT(value_.ptr());
    return pool_job::traverse(visit, arg);
  }
  void clear() override {
    value_.reset();
    pool_job::clear();
  }

 private:
  void finish();

  nanobind::object value_;  // the list while it fills; in the end the result, or what was raised
  std::size_t length_ = 1;
  std::size_t tasks_ = 1;
  std::size_t left_ = 1;  // of them, those without an outcome
  bool is_list_;
  bool ok_ = true;
  bool ready_ = false;
};

/// shoal._core.PoolResults: of a call whose results are taken one by one, in order or as they come.
class pool_results : public pool_job {
 public:
  pool_results(nanobind::object pool, nanobind::object crew, nanobind::object method, nanobind::object function_name,
               std::size_t chunk_size, bool ordered);

  std::size_t deliver(std::size_t index, bool ok, nanobind::object value) override;
  bool abort(nanobind::object error) override;
  [[nodiscard]] bool is_ready() const noexcept override { return !items_.empty() || has_ended(); }

  struct item {
    nanobind::object value;
    bool ok = true;
    bool last_of_task = true;
  };

  /// Takes the next result. @return nothing if none is there. @throws nb::python_error  the job was aborted.
  [[nodiscard]] std::optional<item> take();
  /// Undoes that.
  void put_back(item taken);

  static constexpr auto unlimited = static_cast<std::size_t>(-1);

  /// How many tasks may be under way, or done and not taken.
  std::size_t ahead = unlimited;
  /// Once so many tasks were taken, there is room again; then the object's `_consumed` is called.
  std::size_t next_notice = unlimited;

  [[nodiscard]] std::size_t tasks_consumed() const noexcept { return consumed_; }
  [[nodiscard]] std::size_t room() const noexcept override {
    const std::size_t there = submitted - consumed_;
    return ahead == unlimited ? unlimited : ahead - std::min(ahead, there);
  }
  // When half of what was ahead is taken, there is enough left to keep the workers busy meanwhile.
  bool notice_room() noexcept override {
    next_notice = submitted - ahead / 2;
    return true;
  }
  void end_of_items() override;
  void end_of_items(nanobind::object error) override;

  int traverse(visitproc visit, void* arg) override;
  void clear() override;

 private:
  void hand_out(bool ok, nanobind::object value);
  void end_if_complete();

  bool ordered_;
  std::deque<item> items_;                         // to be taken next
  std::unordered_map<std::size_t, item> waiting_;  // ordered: outcomes whose turn has not come
  std::size_t done_ = 0;                           // tasks heard of; ordered: those whose turn has come
  std::size_t consumed_ = 0;                       // tasks whose results have all been taken
  std::size_t length_ = unlimited;                 // tasks in all, once that is known
  nanobind::object error_;
};

/// The job in `object`. @throws nb::python_error  it is none, or a subclass's __init__ has not called this one's.
pool_job& job_of(nanobind::handle object);

}  // namespace shoal::python
