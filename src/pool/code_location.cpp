#include "shoal/detail/code_location.hpp"

#include <cstdio>
#include <string>
#include <string_view>

#include "os/loaded_module.hpp"
#include "shoal/error.hpp"

namespace shoal::detail {
namespace {

using os::find_module;
using module = os::loaded_module;

// FNV-1a: small, and good enough to tell the few modules apart that may ever lie at one address.
class fingerprint {
 public:
  void add(const void* data, std::size_t size) noexcept {
    for (std::size_t i = 0; i < size; ++i) {
      hash_ = (hash_ ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3;
    }
  }
  void add(std::string_view text) noexcept { add(text.data(), text.size()); }
  void add(std::uintptr_t number) noexcept { add(&number, sizeof number); }

  [[nodiscard]] std::uint64_t value() const noexcept { return hash_ | 1; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

std::uint64_t fingerprint_of(const module& loaded) {
  fingerprint print;
  print.add(loaded.base);
  const std::string_view id = loaded.build_id();
  print.add(id.empty() ? loaded.name : id);
  return print.value();
}

std::string text_of(const void* address) {
  char text[24];
  std::snprintf(text, sizeof text, "%p", address);
  return text;
}

}  // namespace

code_location locate_code(const void* function) {
  module loaded;
  if (!find_module(function, loaded)) {
    throw error(errc::unknown_function,
                "the function at " + text_of(function) +
                    " lies neither in the program nor in a shared library (null, or generated at run "
                    "time?), so it cannot be named to a worker process.");
  }
  return {function, fingerprint_of(loaded)};
}

const void* find_code(code_location location) {
  module loaded;
  if (!find_module(location.address, loaded) || fingerprint_of(loaded) != location.module) {
    throw error(errc::unknown_function, text_of(location.address));
  }
  return location.address;
}

}  // namespace shoal::detail
