#include "instances.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "paused_collector.hpp"
#include "pickler.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// A class's attribute, as instances see it. Borrowed; nullptr if there is none.
PyObject* attribute_of(PyTypeObject* type, const nb::object& name) { return _PyType_Lookup(type, name.ptr()); }

// Borrowed; nullptr if it is not there.
PyObject* item_of(PyObject* dict, const nb::object& key) {
  PyObject* const found = PyDict_GetItemWithError(dict, key.ptr());
  if (found == nullptr) {
    PyErr_Clear();
  }
  return found;
}

// Whether getattr(c, name) finds on a class of this metaclass what `attribute_of` does.
bool has_plain_attributes(PyTypeObject* meta, const nb::object& name) {
  return meta->tp_getattro == PyType_Type.tp_getattro && attribute_of(meta, name) == nullptr;
}

nb::object interned(const char* text) { return checked(PyUnicode_InternFromString(text)); }

std::string_view text_of(PyObject* string) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(string, &size);
  if (text == nullptr) {
    throw nb::python_error();
  }
  return {text, static_cast<std::size_t>(size)};
}

/// The version of a class as it is now, which no other class and no later version has; 0 if there is no telling.
unsigned version_of(PyTypeObject* type) {
#if PY_VERSION_HEX < 0x030D0000  // later it is 0 when it is not valid
  if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) {
    return 0;
  }
#endif
  return type->tp_version_tag;
}

/// What pickle would find out about a class each time, found out once.
class inspector {
 public:
  static const inspector& instance() {
    static const auto* const only = new inspector();  // outlives the interpreter's own teardown
    return *only;
  }

  [[nodiscard]] bool is_ordinary(PyTypeObject* type) const {
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) && type->tp_new == PyBaseObject_Type.tp_new &&
           type->tp_getattro == PyObject_GenericGetAttr && has_only_a_dict(type) && has_no_slot_names(type) &&
           is_pickled_by_object(type) && has_true_names(type);
  }

  /// (module, qualname) as pickle reads them, or nothing if they are no names.
  [[nodiscard]] std::pair<nb::object, nb::object> names_of(PyTypeObject* type) const {
    PyObject* const module = item_of(type->tp_dict, module_);
    PyObject* const qualname = reinterpret_cast<PyHeapTypeObject*>(type)->ht_qualname;
    if (module == nullptr || !PyUnicode_CheckExact(module) || !PyUnicode_CheckExact(qualname) ||
        PyUnicode_AsUTF8(module) == nullptr || PyUnicode_AsUTF8(qualname) == nullptr) {
      PyErr_Clear();
      return {};
    }
    return {nb::borrow(module), nb::borrow(qualname)};
  }

 private:
  // No memory beside the __dict__ and the list of weak references: no slots, no base class made in C that has fields.
  static bool has_only_a_dict(PyTypeObject* type) {
    Py_ssize_t size = PyBaseObject_Type.tp_basicsize;
    bool has_dict = type->tp_dictoffset != 0;
    bool dict_is_a_field = has_dict;
#ifdef Py_TPFLAGS_MANAGED_DICT
    if (PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT)) {
      has_dict = true;
      dict_is_a_field = false;
    }
#endif
    const auto pointer = static_cast<Py_ssize_t>(sizeof(PyObject*));
    size += (dict_is_a_field ? pointer : 0) + (type->tp_weaklistoffset > 0 ? pointer : 0);
    return has_dict && type->tp_itemsize == 0 && type->tp_basicsize == size;
  }

  // copyreg takes what __slots__ lists anywhere among the bases for state, were it set after the class was made.
  [[nodiscard]] bool has_no_slot_names(PyTypeObject* type) const {
    const auto is_empty = [](PyObject* names) {
      return names == nullptr || (PyTuple_CheckExact(names) && PyTuple_GET_SIZE(names) == 0) ||
             (PyList_CheckExact(names) && PyList_GET_SIZE(names) == 0);
    };
    if (!is_empty(item_of(type->tp_dict, slotnames_))) {
      return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(type->tp_mro); ++i) {
      auto* const base = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(type->tp_mro, i));
      if (PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE) && !is_empty(item_of(base->tp_dict, slots_))) {
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] bool is_pickled_by_object(PyTypeObject* type) const {
    PyObject* const dict = attribute_of(type, dict_);
    return dict != nullptr && Py_IS_TYPE(dict, &PyGetSetDescr_Type) &&
           std::all_of(decisive_.begin(), decisive_.end(), [type](const nb::object& name) {
             return attribute_of(type, name) == attribute_of(&PyBaseObject_Type, name);
           });
  }

  // Its metaclass does not make other names of them, and the class can be looked up without running its code.
  [[nodiscard]] bool has_true_names(PyTypeObject* type) const {
    PyTypeObject* const meta = Py_TYPE(type);
    if (meta == &PyType_Type) {
      return true;
    }
    PyObject* const module = attribute_of(meta, module_);
    return Py_IS_TYPE(meta, &PyType_Type) && meta->tp_hash == PyType_Type.tp_hash &&
           meta->tp_getattro == PyType_Type.tp_getattro && meta->tp_descr_get == nullptr && module != nullptr &&
           (module == attribute_of(&PyType_Type, module_) || PyUnicode_CheckExact(module)) &&
           attribute_of(meta, qualname_) == attribute_of(&PyType_Type, qualname_);
  }

  const nb::object module_ = interned("__module__");
  const nb::object qualname_ = interned("__qualname__");
  const nb::object dict_ = interned("__dict__");
  const nb::object slots_ = interned("__slots__");
  const nb::object slotnames_ = interned("__slotnames__");
  // What an ordinary class has from `object`, or not at all.
  const std::array<nb::object, 7> decisive_{
      interned("__reduce_ex__"),  interned("__reduce__"),        interned("__getstate__"), interned("__setstate__"),
      interned("__getnewargs__"), interned("__getnewargs_ex__"), interned("__class__")};
};

/// Verdicts on classes. A class that has changed since, or another one in its place, is looked at anew.
class verdicts {
 public:
  struct verdict {
    PyTypeObject* type = nullptr;  // only compared
    unsigned version = 0;
    bool is_ordinary = false;
    class_name name{};  // of an ordinary one
  };

  static const verdict& on(PyTypeObject* type) {
    static auto* const only = new verdicts();
    verdict& kept = only->kept_[std::hash<const void*>()(type) / alignof(std::max_align_t) % only->kept_.size()];
    if (kept.type == type && kept.version != 0 && kept.version == version_of(type) &&
        // A class gets no new version when it gets another __qualname__.
        (!kept.is_ordinary || kept.name.qualname_object() == reinterpret_cast<PyHeapTypeObject*>(type)->ht_qualname)) {
      return kept;
    }
    kept = look_at(type);
    return kept;
  }

 private:
  static verdict look_at(PyTypeObject* type) {
    const paused_collector paused;  // whoever asks relies on no code being run
    const inspector& inspect = inspector::instance();
    verdict found{.type = type};
    if (inspect.is_ordinary(type)) {
      auto [module, qualname] = inspect.names_of(type);
      if (module.is_valid()) {
        found.is_ordinary = true;
        found.name = class_name(std::move(module), std::move(qualname));
      }
    }
    found.version = version_of(type);  // now, since looking attributes up is what gives a class its version
    return found;
  }

  std::array<verdict, 256> kept_;
};

/// Class names that were received lately.
class received_names {
 public:
  static const class_name& get(std::string_view module, std::string_view qualname) {
    static auto* const only = new received_names();
    constexpr std::hash<std::string_view> hash;
    class_name& kept = only->kept_[(hash(module) * 31 + hash(qualname)) % only->kept_.size()];
    if (kept.qualname() != qualname || kept.module() != module) {
      kept = class_name(string_of(module), string_of(qualname));
    }
    return kept;
  }

 private:
  static nb::object string_of(std::string_view text) {
    return checked(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
  }

  std::array<class_name, 256> kept_;
};

}  // namespace

class_name::class_name(nb::object module, nb::object qualname)
    : module_(std::move(module)),
      qualname_(std::move(qualname)),
      module_text_(text_of(module_.ptr())),
      qualname_text_(text_of(qualname_.ptr())) {
  for (const nb::handle part : qualname_.attr("split")(".")) {
    path_.push_back(nb::borrow(part));
  }
}

PyTypeObject* class_name::find() const {
  PyObject* const module = item_of(PyImport_GetModuleDict(), module_);
  if (module == nullptr || !PyModule_CheckExact(module)) {
    return nullptr;
  }
  PyObject* found = item_of(PyModule_GetDict(module), path_.front());
  for (auto part = path_.begin() + 1; found != nullptr && part != path_.end(); ++part) {
    if (!PyType_Check(found) || !has_plain_attributes(Py_TYPE(found), *part)) {
      return nullptr;
    }
    found = attribute_of(reinterpret_cast<PyTypeObject*>(found), *part);
  }
  // A nested class is found as it is unless its metaclass makes a descriptor of it.
  return found != nullptr && PyType_Check(found) && Py_TYPE(found)->tp_descr_get == nullptr
             ? reinterpret_cast<PyTypeObject*>(found)
             : nullptr;
}

void class_name::audit_find() const {
  if (PySys_Audit("pickle.find_class", "OO", module_.ptr(), qualname_.ptr()) != 0) {
    throw nb::python_error();
  }
}

const class_name* name_to_encode(PyTypeObject* type) {
  const verdicts::verdict& verdict = verdicts::on(type);
  const bool is_encodable = verdict.is_ordinary && pickler::is_ready() && verdict.name.find() == type &&
                            !pickler::instance().has_reducer(type);
  return is_encodable ? &verdict.name : nullptr;
}

bool is_ordinary(PyTypeObject* type) { return verdicts::on(type).is_ordinary; }

nb::object attributes_of(PyObject* instance) {
  const paused_collector paused;  // a finalizer might change what is being encoded
  nb::object attributes = nb::steal(PyObject_GenericGetDict(instance, nullptr));
  if (!attributes.is_valid()) {
    PyErr_Clear();  // no memory, which pickling will find again
    return {};
  }
  return PyDict_CheckExact(attributes.ptr()) ? attributes : nb::object();
}

bool may_steer_pickle(std::string_view attribute) { return attribute.starts_with("__") && attribute.ends_with("__"); }

const class_name& received_class_name(std::string_view module, std::string_view qualname) {
  return received_names::get(module, qualname);
}

nb::object rebuild_with_pickle(std::string_view module, std::string_view qualname, const nb::object& state) {
  std::string program = "\x80\x05";  // protocol 5
  for (const std::string_view name : {module, qualname}) {
    const auto size = static_cast<std::uint32_t>(name.size());
    program += 'X';  // a string, its length in little-endian order
    for (int shift = 0; shift < 32; shift += 8) {
      program += static_cast<char>(size >> shift & 0xff);
    }
    program += name;
  }
  program += "\x93)\x81";  // the class of this name; no arguments; class.__new__
  if (!state.is_none()) {
    program +=
        "\x97"
        "b";  // the next out-of-band object, taken for the instance's state
  }
  program += '.';
  return unpickle(nb::bytes(program.data(), program.size()), nb::make_tuple(state));
}

}  // namespace shoal::python
