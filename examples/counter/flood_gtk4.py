"""A GTK 4 window that takes 100,000 items a second from a worker process and stays responsive.

    python examples/counter/flood_gtk4.py [ITEMS [ITEMS_PER_SECOND]]

Items are taken with a budget, at a priority below that of drawing, keys and clicks. In the end it prints how many came,
and how late ticks of 10 ms were.
"""

import signal

import gi
import shoal
from flood import TICK, Flood

gi.require_version("Gtk", "4.0")
from gi.repository import GLib, Gtk  # noqa: E402


def show(app, flood):
    label = Gtk.Label(vexpand=True)
    button = Gtk.Button(label="Quit", action_name="window.close")
    box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, margin_top=18, margin_bottom=18, margin_start=18, margin_end=18)
    box.append(label)
    box.append(button)
    window = Gtk.ApplicationWindow(application=app, title="Flood", child=box, default_width=400, default_height=220)
    app.set_accels_for_action("window.close", ["Escape"])

    def on_items(descriptor, condition):
        try:
            flood.take()
        except shoal.ShutDown:
            window.close()
            return GLib.SOURCE_REMOVE
        label.set_markup(f"<span size='48pt'>{flood.count}</span>")  # drawn with the next frame, however often
        return GLib.SOURCE_CONTINUE

    def on_tick():
        flood.tick()
        return GLib.SOURCE_CONTINUE

    GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT_IDLE, flood.queue.fileno(), GLib.IOCondition.IN, on_items)
    GLib.timeout_add(round(1000 * TICK), on_tick)
    window.present()


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends both processes at once
    flood = Flood()
    app = Gtk.Application()
    app.connect("activate", show, flood)
    app.run()
    flood.end()


if __name__ == "__main__":
    main()
