// Exceptions of tasks, as what they arrive.

#include <gtest/gtest.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "pool_support.hpp"
#include "shoal/error.hpp"
#include "shoal/register_exception.hpp"
#include "start_method_support.hpp"

namespace {

using shoal::pool;
using shoal::remote_error;
using shoal::test::get;

struct parse_error : std::runtime_error {
  explicit parse_error(const std::string& what, int at = 0) : std::runtime_error(what), line(at) {}
  int line;
};

struct plain_error : std::logic_error {
  using std::logic_error::logic_error;
};

struct silent {};

struct sealed final : std::exception {};

struct unknown : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace

template <>
struct shoal::codec<parse_error> {
  static void encode(encoder& out, const parse_error& thrown) {
    out.string(thrown.what());
    out.integer(thrown.line);
  }
  static parse_error decode(decoder& in) {
    const std::string text(in.string());
    return parse_error(text, static_cast<int>(in.integer()));
  }
};

namespace {

[[maybe_unused]] const bool registered = shoal::register_exception<parse_error>() &&
                                         shoal::register_exception<plain_error>() &&
                                         shoal::register_exception<silent>() && shoal::register_exception<sealed>();

class PoolException : public shoal::test::by_each_method {
 protected:
  template <class E>
  struct caught_exception {
    E copy;
    std::string text;
    std::string nested;
  };

  template <class E, class F>
  static caught_exception<E> caught(F function) {
    pool workers(1, {.method = GetParam()});
    try {
      get(workers.submit(function));
    } catch (const E& thrown) {
      std::string text;
      if constexpr (std::is_base_of_v<std::exception, E>) {
        text = thrown.what();
      }
      try {
        std::rethrow_if_nested(thrown);
      } catch (const remote_error& nested) {
        return {thrown, text, nested.what()};
      }
      return {thrown, text, ""};
    }
    throw std::runtime_error("nothing was thrown");
  }
};
INSTANTIATE_BY_EACH_METHOD(PoolException);

TEST_P(PoolException, OfTheStandardLibraryIsWhatItWas) {
  const auto thrown = caught<std::out_of_range>([] { throw std::out_of_range("no such row"); });
  EXPECT_EQ(thrown.text, "no such row");
  EXPECT_EQ(thrown.nested, "std::out_of_range in task 0: no such row");
  EXPECT_NO_THROW(caught<std::logic_error>([] { throw std::invalid_argument("x"); }));
  EXPECT_NO_THROW(caught<std::bad_alloc>([] { throw std::bad_alloc(); }));
}

TEST_P(PoolException, OfTheSystemKeepsItsCode) {
  const auto thrown =
      caught<std::system_error>([] { throw std::system_error(ENOSPC, std::generic_category(), "writing"); });
  EXPECT_EQ(thrown.copy.code(), std::errc::no_space_on_device);
  EXPECT_EQ(thrown.text, "writing: No space left on device");
  const auto own = caught<shoal::error>([] { throw shoal::error(shoal::errc::wrong_type, "an int"); });
  EXPECT_EQ(own.copy.code(), shoal::errc::wrong_type);
  EXPECT_EQ(own.text, "an int");
}

TEST_P(PoolException, ThatIsRegisteredIsWhatItWas) {
  const auto thrown = caught<parse_error>([] { throw parse_error("no number", 12); });
  EXPECT_EQ(thrown.text, "no number");
  EXPECT_EQ(thrown.copy.line, 12);
  EXPECT_EQ(thrown.nested, "(anonymous namespace)::parse_error in task 0: no number");
  EXPECT_EQ(caught<plain_error>([] { throw plain_error("text"); }).text, "text");
  EXPECT_NO_THROW(caught<silent>([] { throw silent(); }));
  EXPECT_NO_THROW(caught<sealed>([] { throw sealed(); }));
}

TEST_P(PoolException, ThatIsNotRegisteredIsTold) {
  pool workers(1, {.method = GetParam()});
  try {
    get(workers.submit([] { throw unknown("text"); }));
    FAIL() << "nothing was thrown";
  } catch (const remote_error& thrown) {
    EXPECT_EQ(thrown.type(), "(anonymous namespace)::unknown");
    EXPECT_EQ(thrown.message(), "text");
  }
  EXPECT_THROW(get(workers.submit([] { throw 42; })), remote_error);
}

TEST_P(PoolException, PassesThroughNestedPools) {
  pool workers(1, {.method = GetParam()});
  const auto outer = [] {
    pool inner(1);
    inner.submit([] { throw parse_error("deep", 3); }).get();
  };
  try {
    get(workers.submit(outer));
    FAIL() << "nothing was thrown";
  } catch (const parse_error& thrown) {
    EXPECT_EQ(thrown.line, 3);
  }
}

struct unreadable {
  int value;
};

}  // namespace

template <>
struct shoal::codec<unreadable> {
  static void encode(encoder& out, const unreadable& from) {
    if (from.value == 1) {
      throw std::runtime_error("cannot be written");
    }
    out.integer(from.value);
  }
  static unreadable decode(decoder& in) {
    if (in.integer() == 2) {
      throw std::runtime_error("cannot be read");
    }
    return {3};
  }
};

namespace {

TEST_P(PoolException, ArgumentsAndResultsThatCannotBeCodedFailTheirTaskAlone) {
  pool workers(1, {.method = GetParam()});
  const auto make = [](int value) { return unreadable{value}; };
  EXPECT_THROW(get(workers.submit(make, 1)), std::runtime_error);
  EXPECT_THROW(get(workers.submit(make, 2)), std::runtime_error);
  const auto take = [](unreadable taken) { return taken.value; };
  EXPECT_THROW(workers.submit(take, unreadable{1}), std::runtime_error);
  EXPECT_THROW(get(workers.submit(take, unreadable{2})), std::runtime_error);
  EXPECT_EQ(get(workers.submit(take, unreadable{5})), 3);
}

}  // namespace
