"""Stands in for Coral's edgetpu_compiler, which can't be had here: the same options, files, log and ways to fail.

The log has the form of compiler 16's, as users have published it. What it makes of a model is one operator that our
test delegate takes. TEST_COMPILER says how it behaves:

    (empty)    everything maps
    partly     two kinds of operator stay on the CPU, one with two reasons
    failed     the child that compiles fails; the exit status is 0 all the same
    silent     nothing is said or written, and the exit status is 1
    nothing    a model is written in which nothing runs on the Edge TPU
    renamed    the outputs of the model that is written have other names
    otherlog   the log has another form
"""

import os
import sys
from pathlib import Path

from edgetpu_models import compiled, compiled_of

VERSION = "16.0.384591198"
SECTION = """\
Input model: {model}
Input size: 1.79MiB
Output model: {stem}_edgetpu.tflite
Output size: 2.04MiB
On-chip memory used for caching model parameters: 1.50MiB
On-chip memory remaining for caching model parameters: 5.62MiB
Off-chip memory used for streaming uncached model parameters: {streamed}
Number of Edge TPU subgraphs: 1
Total number of operations: 9
Operation log: {stem}_edgetpu.log
{summary}
Operator                       Count      Status

{table}
"""
MAPPED = "CONV_2D                        6          Mapped to Edge TPU\n"
MAPPED += "PAD                            3          Mapped to Edge TPU"
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
PARTLY = f"""\
CONV_2D                        4          Mapped to Edge TPU
CONV_2D                        2          More than one subgraph is not supported
RESIZE_BILINEAR                3          {UNSPECIFIED}"""
NOT_ALL = """
Model successfully compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: 4
Number of operations that will run on CPU: 5
"""


def main() -> int:
    arguments = sys.argv[1:]
    behaviour = os.environ.get("TEST_COMPILER", "")
    shows, out = "--show_operations" in arguments, Path(arguments[arguments.index("--out_dir") + 1])
    models = [Path(argument) for argument in arguments if argument.endswith(".tflite")]
    if behaviour == "silent":
        return 1
    print(f"Edge TPU Compiler version {VERSION}\nStarted a compilation timeout timer of 180 seconds.\n")
    if behaviour == "failed":
        print("Compilation child process completed within timeout period.\nCompilation failed! ")
        return 0
    print(f"Model{'s' * (len(models) > 1)} compiled successfully in 3173 ms.\n")
    for model in models:
        plain = model.read_bytes()
        made = {"nothing": plain, "renamed": compiled((1, 256, 256, 3), [("other", (1, 4), 0.1)])}.get(behaviour)
        (out / f"{model.stem}_edgetpu.tflite").write_bytes(made or compiled_of(plain))
        partly = behaviour == "partly"
        section = SECTION.format(
            model=model,
            stem=model.stem,
            streamed="512.00KiB" if partly else "0.00B",
            summary=NOT_ALL if partly else "",
            table=(PARTLY if partly else MAPPED) if shows else "",
        )
        print(section.replace("Operator  ", "Operation ") if behaviour == "otherlog" else section)
    print("Compilation child process completed within timeout period.\nCompilation succeeded! ")
    return 0
