// A shared library, built in two versions.

extern "C" int plugin_answer(int value);

extern "C" int plugin_answer(int value) { return PLUGIN_FACTOR * value; }
