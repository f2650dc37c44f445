"""How models/*.tflite are made from the upstream float models. Development only: `python -m models.build --help`."""
