"""The models that the device runs. `models.build` makes them from the upstream float models; devices never import it."""
