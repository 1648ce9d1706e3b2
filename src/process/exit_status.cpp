#include "shoal/exit_status.hpp"

#include <csignal>
#include <cstring>

namespace shoal {
namespace {

std::string name_of_signal(int signal) {
  if (const char* const name = ::sigabbrev_np(signal); name != nullptr) {
    return std::string("SIG") + name;
  }
  return "signal " + std::to_string(signal);  // a real-time signal
}

}  // namespace

std::string to_string(exit_status status) {
  return status.exited() ? "exited with code " + std::to_string(status.code())
                         : "was killed by " + name_of_signal(status.signal());
}

}  // namespace shoal
