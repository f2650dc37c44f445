"""Properties of MQTT 5, as paho wants them."""

from typing import Any

from edge.mqtt_message import Message


def properties(packet: str, **values: Any) -> Any:  # noqa: ANN401 -- paho's Properties
    """Properties of a packet of a type, such as CONNECT."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    made: Any = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Packed:
    """What goes with a message, as bytes; paho would make them anew for each message with the same properties."""

    def __init__(self, message: Message) -> None:
        made = properties("PUBLISH")
        if message.expiry_s is not None:
            made.MessageExpiryInterval = message.expiry_s
        if message.content_type:
            made.ContentType = message.content_type
        if message.time_s is not None:
            made.UserProperty = ("time", f"{message.time_s:.3f}")
        self._bytes: bytes = made.pack()

    def pack(self) -> bytes:
        """As of paho's Properties."""
        return self._bytes
