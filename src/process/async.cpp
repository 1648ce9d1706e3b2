#include "shoal/async.hpp"

#include <future>
#include <stdexcept>
#include <string>

namespace shoal::detail {

void throw_no_result(const std::string& process, exit_status status) {
  throw std::runtime_error(process + " " + to_string(status) + " before its function returned a result");
}

void throw_no_future() { throw std::future_error(std::future_errc::no_state); }

}  // namespace shoal::detail
