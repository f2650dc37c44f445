"""Names of the topics of one device: levels below `<base>/<device>/`."""

from dataclasses import dataclass

from edge.config import MqttSettings

ONLINE, OFFLINE = b"online", b"offline"
ON, OFF = b"ON", b"OFF"


@dataclass(frozen=True, slots=True)
class Topics:
    """Where a device publishes; `base` may have several levels, `device` is one."""

    base: str
    device: str

    @staticmethod
    def of(settings: MqttSettings) -> "Topics":
        """The topics of the device with these settings."""
        return Topics(settings.base, settings.device())

    def below(self, name: str) -> str:
        """The topic `<base>/<device>/<name>`."""
        return f"{self.base}/{self.device}/{name}"

    @property
    def pose(self) -> str:
        """Pose messages, JSON."""
        return self.below("pose")

    @property
    def packed(self) -> str:
        """Pose messages, binary."""
        return self.below("pose/packed")

    @property
    def presence(self) -> str:
        """ON or OFF."""
        return self.below("presence")

    @property
    def count(self) -> str:
        """Persons in view."""
        return self.below("count")

    @property
    def status(self) -> str:
        """Online or offline."""
        return self.below("status")

    @property
    def health(self) -> str:
        """Health messages."""
        return self.below("health")

    @property
    def info(self) -> str:
        """The info message."""
        return self.below("info")

    def command(self, name: str) -> str:
        """Where the command `name` is given; its answer comes below `result`."""
        return self.below(f"set/{name}")

    def result(self, name: str) -> str:
        """Where the command `name` is answered."""
        return self.below(f"set/{name}/result")
