"""Human pose keypoints on a Raspberry Pi or Coral: camera in, 33 BlazePose keypoints out over MQTT."""

__version__ = "0.1.0"
