#include "process/child_side.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "process/crash_trace.hpp"
#include "process/die_with_starter.hpp"
#include "process/exception_text.hpp"
#include "process/standard_streams.hpp"
#include "process/start_channel.hpp"
#include "shoal/die_with_parent.hpp"
#include "shoal/error.hpp"

namespace shoal {
namespace {

[[noreturn]] void end(int code) noexcept {
  flush_standard_streams();
  ::_exit(code);
}

/// Of a function, or of what has to be there before it can be called.
void report_current_exception(handover& shared) noexcept {
  try {
    const exception_text text = describe_current_exception();
    shared.report(text.type, text.message);
  } catch (...) {
    shared.report("std::bad_alloc", "there was no memory left to describe an exception");
  }
}

[[noreturn]] void refuse(handover& shared, const std::system_error& failure) noexcept {
  std::string_view attempt = failure.what();
  // The starter adds the text of the code again.
  if (const std::size_t colon = attempt.rfind(": "); colon != std::string_view::npos) {
    attempt = attempt.substr(0, colon);
  }
  shared.report("", attempt, failure.code().value());
  end(EXIT_FAILURE);
}

void apply_or_refuse(const child_settings& settings, handover& shared) noexcept {
  try {
    apply(settings);
  } catch (const std::system_error& failure) {
    refuse(shared, failure);
  } catch (...) {
    report_current_exception(shared);
    end(EXIT_FAILURE);
  }
}

/// What a new process was sent, as it takes it apart.
class arrived_package {
 public:
  arrived_package(start_package package, os::file_descriptor channel)
      : bytes_(std::move(package.bytes)),
        descriptors_(std::move(package.descriptors)),
        channel_(std::move(channel)),
        in_{decoder(bytes_), {}} {}

  /// What was sent first. @throws shoal::error  errc::unknown_function: another build of this library has sent it.
  child_settings settings() {
    (void)detail::decode_code(in_.values);
    return decode<child_settings>(in_.values);
  }

  /// Gives those descriptors their numbers that have some.
  void place(const std::vector<int>& numbers) {
    const int most = numbers.empty() ? -1 : *std::ranges::max_element(numbers);
    move_above(channel_, most);
    for (os::file_descriptor& each : descriptors_) {
      move_above(each, most);
    }
    for (std::size_t i = 0; i < numbers.size() && i < descriptors_.size(); ++i) {
      os::check(::dup2(descriptors_[i].get(), numbers[i]), "handing over a descriptor");
    }
    for (std::size_t i = std::min(numbers.size(), descriptors_.size()); i < descriptors_.size(); ++i) {
      numbers_.push_back(descriptors_[i].get());
    }
    in_.descriptors = numbers_;
  }

  [[nodiscard]] int channel() const noexcept { return channel_.get(); }
  void close_channel() noexcept { channel_.reset(); }
  void close_descriptors() noexcept { descriptors_.clear(); }

  int enter(void (*ready)(void*), void* context) {
    const auto entry = reinterpret_cast<detail::entry_function>(const_cast<void*>(detail::decode_code(in_.values)));
    return entry(in_, ready, context);
  }

 private:
  static void move_above(os::file_descriptor& fd, int most) {
    if (fd && fd.get() <= most) {
      fd = os::file_descriptor(os::check(::fcntl(fd.get(), F_DUPFD_CLOEXEC, most + 1), "handing over a descriptor"));
    }
  }

  std::vector<std::byte> bytes_;
  std::vector<os::file_descriptor> descriptors_;
  std::vector<int> numbers_;
  os::file_descriptor channel_;
  detail::incoming_parcel in_;
};

struct beginning {
  arrived_package& package;
  handover& shared;
};

void say_ready(void* context) {
  const auto& begun = *static_cast<beginning*>(context);
  begun.package.close_descriptors();
  begun.shared.say_running();
}

int run_package(arrived_package& package, handover& shared) {
  const child_settings settings = package.settings();
  if (settings.daemon && settings.method == start_method::forkserver) {
    package.place(settings.descriptors);
    die_with_starter(package.channel());
  } else {
    package.close_channel();
    package.place(settings.descriptors);
    if (settings.daemon) {
      die_with_parent(settings.starter);
    }
  }
  apply_or_refuse(settings, shared);
  prepare_crash_traces();
  trace_crashes(settings.name);
  beginning begun{package, shared};
  return package.enter(say_ready, &begun);
}

}  // namespace

void run_fork(const detail::process_call& call, const child_settings& settings, handover& shared) noexcept {
  if (!shared.wait_for_begin(settings.starter)) {
    ::_exit(EXIT_FAILURE);
  }
  int code = EXIT_FAILURE;
  try {
    if (settings.daemon) {
      die_with_parent(settings.starter);
    }
    for (const int fd : settings.descriptors) {
      os::check(::fcntl(fd, F_SETFD, 0), "handing over a descriptor");
    }
    apply_or_refuse(settings, shared);
    trace_crashes(settings.name);
    if (settings.may_fail()) {
      shared.say_running();  // nobody waits for it otherwise
    }
    code = call.run(call.context);
  } catch (...) {
    report_current_exception(shared);
  }
  end(code);
}

void send_beginning(detail::outgoing_parcel& out, int memory, const child_settings& settings) {
  out.descriptors.insert(out.descriptors.begin(), memory);
  // The library may have been replaced as the program may: what is read there would be another format.
  detail::encode_code(out.values, reinterpret_cast<const void*>(&run_sent));
  encode(out.values, settings);
}

void run_sent(os::file_descriptor channel) noexcept {
  int code = EXIT_FAILURE;
  try {
    std::optional<start_package> package = receive_package(channel.get());
    if (!package || package->descriptors.empty()) {
      ::_exit(EXIT_FAILURE);  // the starter has died, or given up
    }
    handover shared(package->descriptors.front().get());
    package->descriptors.erase(package->descriptors.begin());
    try {
      arrived_package arrived(*std::move(package), std::move(channel));
      code = run_package(arrived, shared);
    } catch (...) {
      report_current_exception(shared);
    }
  } catch (...) {
    std::fprintf(stderr, "shoal: a new process could not receive its function: %s\n",
                 describe_current_exception().message.c_str());
  }
  end(code);
}

}  // namespace shoal
