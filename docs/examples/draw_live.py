"""Draw the skeletons of one device live in a window.

    python draw_live.py [--host 127.0.0.1] [--port 1883] [--device NAME] [--base edge-pose]

Needs paho-mqtt (pip install paho-mqtt) and tkinter (Debian: sudo apt install python3-tk); edge-pose itself is not
needed. Without --device, the first device that shows somebody is drawn.
"""

import argparse
import json
import queue
import tkinter as tk

import paho.mqtt.client as mqtt

HEIGHT = 600
VISIBLE = 0.5  # joints less visible than this are left out
COLORS = ("#4cc9f0", "#f72585", "#b8f35a", "#ffb703", "#c77dff")


def main() -> None:
    """Subscribe in the background, draw in the foreground."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--base", default="edge-pose")
    parser.add_argument("--device", default="+")
    options = parser.parse_args()

    messages: queue.Queue[tuple[str, dict]] = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    # Subscribing at every connect, so that it holds after the broker was restarted.
    client.on_connect = lambda *_: client.subscribe(
        [(f"{options.base}/{options.device}/{topic}", 0) for topic in ("info", "pose")]
    )
    client.on_message = lambda _client, _data, message: messages.put((message.topic, json.loads(message.payload)))
    client.connect(options.host, options.port)
    client.loop_start()

    window = tk.Tk()
    window.title("edge-pose")
    canvas = tk.Canvas(window, width=HEIGHT, height=HEIGHT, background="#10131a", highlightthickness=0)
    canvas.pack()
    view = View(canvas)

    def look() -> None:
        while not messages.empty():
            view.take(*messages.get())
        window.after(15, look)

    look()
    window.mainloop()


class View:
    """What is drawn: the newest message of one device, with the skeleton that its info message describes."""

    def __init__(self, canvas: tk.Canvas) -> None:
        self.canvas = canvas
        self.device = ""
        self.skeletons: dict[str, list[list[int]]] = {}

    def take(self, topic: str, message: dict) -> None:
        """Take a message in."""
        device = message["device"]
        if topic.endswith("/info"):
            self.skeletons[device] = message["skeleton"]
        elif device in self.skeletons and (message["poses"] or self.device):
            self.device = self.device or device
            if device == self.device:
                self.draw(message)

    def draw(self, message: dict) -> None:
        """Draw everybody: coordinates are fractions of the picture's width and height."""
        width = round(HEIGHT * message["width"] / message["height"])
        self.canvas.delete("all")
        self.canvas.configure(width=width)
        for pose in message["poses"]:
            color = COLORS[pose["id"] % len(COLORS)]
            points = [(x * width, y * HEIGHT, visibility) for x, y, _, visibility, _ in pose["keypoints"]]
            for start, end in self.skeletons[self.device]:
                if min(points[start][2], points[end][2]) >= VISIBLE:
                    self.canvas.create_line(*points[start][:2], *points[end][:2], fill=color, width=4)
            for x, y, visibility in points:
                if visibility >= VISIBLE:
                    self.canvas.create_oval(x - 4, y - 4, x + 4, y + 4, fill="white", outline="")
        people = len(message["poses"])
        text = f"{self.device}   {people} in view   {message['latency_ms']:.0f} ms"
        self.canvas.create_text(12, 12, anchor="nw", fill="white", text=text)


if __name__ == "__main__":
    main()
