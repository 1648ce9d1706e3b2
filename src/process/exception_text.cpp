#include "process/exception_text.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <typeinfo>

namespace shoal {
namespace {

struct free_memory {
  void operator()(char* text) const noexcept { std::free(text); }
};

std::string name_of(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, free_memory> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status));
  return name != nullptr ? name.get() : type.name();
}

}  // namespace

exception_text describe_current_exception() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  exception_text text{type != nullptr ? name_of(*type) : "an exception of another language", ""};
  try {
    throw;
  } catch (const std::exception& caught) {
    text.message = caught.what();
  } catch (...) {
    // No std::exception, so it has no text.
  }
  return text;
}

}  // namespace shoal
