#include "pool/exception_registry.hpp"

#include <cxxabi.h>

#include <ios>
#include <mutex>
#include <new>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "process/exception_text.hpp"
#include "shoal/error.hpp"
#include "shoal/register_exception.hpp"
#include "shoal/remote_error.hpp"

namespace shoal {
namespace {

using detail::exception_codec;

// Of a std::system_error no other can be made that says the same: its text is made of two. A shoal::error is one.
void encode_system_error(encoder& out, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::system_error& caught) {
    out.string(caught.code().category().name());
    out.integer(caught.code().value());
    out.string(caught.what());
  }
}

std::exception_ptr decode_system_error(decoder& in) {
  const std::string_view name = in.string();
  const auto value = static_cast<int>(in.integer());
  const std::string_view text = in.string();
  for (const std::error_category* each :
       {&std::generic_category(), &std::system_category(), &std::iostream_category(), &shoal_category()}) {
    if (each->name() == name) {
      return detail::make_exception(error(std::error_code(value, *each), std::string(text)));
    }
  }
  return nullptr;
}

struct entry {
  std::string type;  // mangled, so that processes of one program agree on it
  exception_codec codec;
};

class registry {
 public:
  registry() {
    add_of_library<std::logic_error, std::invalid_argument, std::domain_error, std::length_error, std::out_of_range,
                   std::runtime_error, std::range_error, std::overflow_error, std::underflow_error, std::bad_alloc>();
    const exception_codec codec{encode_system_error, decode_system_error};
    add(typeid(error), detail::type_as_arrived<error>(), codec);
    add(typeid(std::system_error), typeid(std::system_error), codec);
  }

  void add(const std::type_info& type, const std::type_info& arrived, exception_codec codec) {
    const std::unique_lock lock(mutex_);
    all_.insert_or_assign(type.name(), entry{type.name(), codec});
    all_.insert_or_assign(arrived.name(), entry{type.name(), codec});
  }

  [[nodiscard]] std::optional<entry> find(const std::string& type) const {
    const std::shared_lock lock(mutex_);
    const auto found = all_.find(type);
    return found != all_.end() ? std::optional(found->second) : std::nullopt;
  }

 private:
  template <class... E>
  void add_of_library() {
    (add(typeid(E), detail::type_as_arrived<E>(),
         {detail::encode_exception<E>,
          [](decoder& in) { return detail::make_exception<E>(detail::decode_exception<E>(in)); }}),
     ...);
  }

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, entry> all_;
};

registry& all_exceptions() {
  static registry all;
  return all;
}

}  // namespace

bool detail::add_exception(const std::type_info& type, const std::type_info& arrived, exception_codec codec) {
  all_exceptions().add(type, arrived, codec);
  return true;
}

void encode_current_exception(encoder& out) {
  const std::exception_ptr thrown = std::current_exception();
  const exception_text text = describe_current_exception();
  out.string(text.type);
  out.string(text.message);
  const std::type_info* const type = abi::__cxa_current_exception_type();
  const std::optional<entry> known = type != nullptr ? all_exceptions().find(type->name()) : std::nullopt;
  encoder state;
  out.boolean(known.has_value());
  if (known) {
    known->codec.encode(state, thrown);
    out.string(known->type);
    out.binary(state.bytes());
  }
}

std::exception_ptr decode_exception(decoder& in, const std::string& where) {
  std::string type(in.string());
  std::string message(in.string());
  try {
    throw remote_error(std::move(type), std::move(message), where);
  } catch (...) {  // so that the other one nests it
    std::exception_ptr made;
    if (in.boolean()) {
      const std::optional<entry> known = all_exceptions().find(std::string(in.string()));
      decoder state(in.binary());
      made = known ? known->codec.decode(state) : nullptr;
    }
    return made != nullptr ? made : std::current_exception();
  }
}

}  // namespace shoal
