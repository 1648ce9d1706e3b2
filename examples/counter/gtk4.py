"""A GTK 4 window that shows what a worker process counts.

    python examples/counter/gtk4.py

The worker's numbers wake GTK's own loop through the queue's descriptor: there is no thread, and nothing is polled. The
button, Escape or closing the window end the program; the worker is told by a second queue.
"""

import itertools
import signal

import gi
import shoal

gi.require_version("Gtk", "4.0")
from gi.repository import GLib, Gtk  # noqa: E402


def count(numbers, commands):
    """What the worker does: put a number a hundred times a second, until a command comes."""
    for number in itertools.count(1):
        numbers.put(number)
        if commands.get_many(1, timeout=0.01):
            return


def show(app, numbers):
    label = Gtk.Label(vexpand=True)
    button = Gtk.Button(label="Quit", action_name="window.close")
    box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, margin_top=18, margin_bottom=18, margin_start=18, margin_end=18)
    box.append(label)
    box.append(button)
    window = Gtk.ApplicationWindow(application=app, title="Counter", child=box, default_width=320, default_height=220)
    app.set_accels_for_action("window.close", ["Escape"])

    def on_numbers(descriptor, condition):
        # No more than a hundred at a time, so that the window is drawn and its keys are heard however many come.
        for number in numbers.get_many(100, timeout=0)[-1:]:
            label.set_markup(f"<span size='48pt'>{number}</span>")
        return GLib.SOURCE_CONTINUE

    GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT_IDLE, numbers.fileno(), GLib.IOCondition.IN, on_numbers)
    window.present()


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends both processes at once
    numbers, commands = shoal.Queue(), shoal.Queue()
    worker = shoal.Process(target=count, args=(numbers, commands), daemon=True)
    worker.start()  # before GTK opens the display, which is not for two processes
    app = Gtk.Application()
    app.connect("activate", show, numbers)
    app.run()  # until the window is closed
    commands.put("quit")
    worker.join()


if __name__ == "__main__":
    main()
