"""The models that the device runs. `models.build` makes them; a device never imports it."""
